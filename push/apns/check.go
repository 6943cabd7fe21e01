package apns

import (
	"encoding/base64"
	"slices"
	"strings"

	"github.com/trellisdb/trellis/push/provider"
	"github.com/trellisdb/trellis/storage/fault"
)

// Check completes a notifier. A key that is sent without a certificate takes the place
// of a stored certificate, and the other way round.
func (p *Provider) Check(in *provider.Input, n *provider.Notifier) error {
	environment := strings.ToLower(n.Text("environment"))
	if !slices.Contains([]string{production, development, mock}, environment) {
		return fault.New(fault.IllegalArgument, "environment must be production, development or mock")
	}
	n.Set("environment", environment)
	if in.Form && !in.Has("p12Certificate") && !in.Has("authKey") {
		return fault.New(fault.IllegalArgument, "the form has no file part p12Certificate")
	}
	given, err := bundleID(in)
	if err != nil {
		return err
	}
	delete(n.Properties, "topic")
	n.SetText("bundleId", firstOf(given, n.Text("bundleId")))

	newKey, newCertificate := in.Has("authKey"), in.Has("p12Certificate")
	stored := provider.Secrets{}
	if in.Stored != nil {
		stored = in.Stored.Secrets
	}
	withKey := newKey || stored["authKey"] != "" && !newCertificate
	withCertificate := newCertificate || stored["p12Certificate"] != "" && !newKey
	clear(n.Secrets)
	if !withKey && !withCertificate {
		return fault.New(fault.RequiredProperty, "an apple notifier needs p12Certificate, or authKey")
	}
	if withCertificate {
		if err := p.checkCertificate(in, n, given, newCertificate); err != nil {
			return err
		}
	} else {
		delete(n.Properties, "certInfo")
	}
	if withKey {
		return checkKey(in, n)
	}
	delete(n.Properties, "keyId")
	delete(n.Properties, "teamId")
	return nil
}

// bundleID is the topic that the client sent, by either name.
func bundleID(in *provider.Input) (string, error) {
	for _, property := range []string{"bundleId", "topic"} {
		text, err := in.Text(property, maxTopic)
		if err != nil {
			return "", err
		}
		if text != "" && !isTopic(text) {
			return "", fault.New(fault.IllegalArgument, "%s is no topic", property)
		}
		if text != "" {
			return text, nil
		}
	}
	return "", nil
}

func firstOf(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}

const maxTopic = 256

// isTopic tells what can be a topic, and stand in a header.
func isTopic(text string) bool {
	return text != "" && len(text) <= maxTopic && !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' })
}

func checkKey(in *provider.Input, n *provider.Notifier) error {
	text, err := in.Secret("authKey")
	if err != nil {
		return err
	}
	if _, err := parseKey(text); err != nil {
		return err
	}
	for _, property := range []string{"keyId", "teamId"} {
		id, err := in.Text(property, 64)
		if err != nil {
			return err
		}
		id = firstOf(id, n.Text(property))
		if id == "" {
			return fault.New(fault.RequiredProperty, "an apple notifier with authKey needs %s", property)
		}
		if len(id) != 10 || strings.ContainsFunc(id, notAlphanumeric) {
			return fault.New(fault.IllegalArgument, "%s must be 10 letters and digits", property)
		}
		n.Set(property, id)
	}
	if n.Text("bundleId") == "" {
		return fault.New(fault.RequiredProperty, "an apple notifier with authKey needs bundleId")
	}
	n.SetSecret("authKey", text)
	return nil
}

func notAlphanumeric(r rune) bool {
	return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
}

// checkCertificate opens the certificate that is sent or stored. given is the topic
// that the client sent.
func (p *Provider) checkCertificate(in *provider.Input, n *provider.Notifier, given string, isNew bool) error {
	content, filename, err := in.Bytes("p12Certificate")
	if err != nil {
		return err
	}
	password, err := password(in)
	if err != nil {
		return err
	}
	if !isNew {
		if content, err = base64.StdEncoding.DecodeString(in.Stored.Secrets["p12Certificate"]); err != nil {
			return fault.Wrap(err, fault.Corrupt, "the stored certificate cannot be read")
		}
	}
	pair, err := openP12(content, password)
	if err != nil {
		return fault.Wrap(err, fault.IllegalArgument, "p12Certificate cannot be opened: it is no PKCS#12 file, or certificatePassword is wrong")
	}
	if !p.cfg.Now().Before(pair.leaf.NotAfter) {
		return fault.New(fault.IllegalArgument, "p12Certificate has expired on %s", pair.leaf.NotAfter.UTC().Format(dateForm))
	}
	if isNew {
		n.Set("certInfo", certInfo(pair.leaf, filename))
		topics := certTopics(pair.leaf)
		if given == "" && len(topics) > 0 && !slices.Contains(topics, n.Text("bundleId")) {
			n.SetText("bundleId", topics[0])
		}
	}
	n.SetSecret("p12Certificate", base64.StdEncoding.EncodeToString(content))
	n.SetSecret("certificatePassword", password)
	return nil
}

// password is the one sent, which may be empty, else the stored one.
func password(in *provider.Input) (string, error) {
	if value, ok := in.Members["certificatePassword"]; ok {
		text, isText := provider.JSONText(value)
		if !isText && string(value) != "null" || len(text) > 1024 {
			return "", fault.New(fault.IllegalArgument, "certificatePassword must be a string of up to 1024 bytes")
		}
		if in.Form {
			text = strings.TrimSpace(text)
		}
		return text, nil
	}
	if in.Stored != nil {
		return in.Stored.Secrets["certificatePassword"], nil
	}
	return "", nil
}
