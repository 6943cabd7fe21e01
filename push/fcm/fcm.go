package fcm

import (
	"encoding/json"
	"fmt"

	"github.com/trellisdb/trellis/push/provider"
	"github.com/trellisdb/trellis/storage/fault"
)

// Provider is provider.Provider for Google's service. It is safe for concurrent use.
type Provider struct{ cfg provider.Config }

// New makes a provider.
func New(cfg provider.Config) (*Provider, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	return &Provider{cfg: cfg}, nil
}

// Token reads a device's token, which is a string.
func (p *Provider) Token(value json.RawMessage) (provider.Token, bool) {
	return provider.TextToken(value)
}

// ValidToken refuses nothing.
func (p *Provider) ValidToken(json.RawMessage) error { return nil }

// Check completes a notifier. projectId, which is found out, tells that it has a
// service account.
func (p *Provider) Check(in *provider.Input, n *provider.Notifier) error {
	as, err := in.Text("stringPayloadAs", 32)
	if err != nil {
		return err
	}
	if as != "" && as != "data" && as != "notification" {
		return fault.New(fault.IllegalArgument, "stringPayloadAs must be data or notification")
	}
	key, err := in.Secret("apiKey")
	if err != nil {
		return err
	}
	if !fitsHeader(key) {
		return fault.New(fault.IllegalArgument, "apiKey is no key")
	}
	text, err := accountText(in)
	if err != nil {
		return err
	}
	clear(n.Secrets)
	delete(n.Properties, "projectId")
	if key == "" && text == "" {
		return fault.New(fault.RequiredProperty, "a google notifier needs apiKey, or serviceAccount")
	}
	if text != "" {
		account, err := parseAccount(text, p.cfg.FCMToken)
		if err != nil {
			return err
		}
		n.Set("projectId", account.project)
	}
	n.SetSecret("apiKey", key)
	n.SetSecret("serviceAccount", text)
	return nil
}

// fitsHeader tells whether a key can stand in a header.
func fitsHeader(key string) bool {
	for i := range len(key) {
		if key[i] < ' ' || key[i] > '~' {
			return false
		}
	}
	return len(key) <= 4096
}

// accountText is the service account as JSON text: it is sent as an object, as a
// string, or as a file.
func accountText(in *provider.Input) (string, error) {
	if value := in.Members["serviceAccount"]; provider.IsObject(value) {
		if len(value) > provider.MaxSecretBytes {
			return "", fault.New(fault.IllegalArgument, "serviceAccount is longer than %d bytes", provider.MaxSecretBytes)
		}
		return string(value), nil
	}
	return in.Secret("serviceAccount")
}

// Open makes a sender: by the service account if there is one.
func (p *Provider) Open(n provider.Notifier) (provider.Sender, error) {
	text := n.Secrets["serviceAccount"]
	if text == "" {
		return openLegacy(p.cfg, n.Secrets["apiKey"]), nil
	}
	account, err := parseAccount(text, p.cfg.FCMToken)
	if err != nil {
		return nil, fmt.Errorf("open a google notifier: %w", err)
	}
	return openV1(p.cfg, account), nil
}
