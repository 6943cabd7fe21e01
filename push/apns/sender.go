package apns

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	"github.com/trellisdb/trellis/push/provider"
)

// maxToken bounds a device's token, in hexadecimal digits. Apple's have 64, and may
// become longer.
const maxToken = 256

// probeToken is a token that no device has.
const probeToken = "0000000000000000000000000000000000000000000000000000000000000000"

type sender struct {
	cfg         provider.Config
	client      *provider.Client
	life        *provider.Life
	url         string // up to the token
	topic       string
	certificate bool
	signer      *signer // nil: with a certificate
	release     func()  // of the signer; it may be called again
}

// Send posts a message, and once more if the signed token was found expired.
func (s *sender) Send(ctx context.Context, m provider.Message) provider.Result {
	p, ok := m.Payload.(*payload)
	if !ok {
		return provider.Fail(provider.CodeBadPayload, "the payload is not for an apple notifier")
	}
	token, ok := normalised(m.Token)
	if !ok {
		r := provider.Fail("BadDeviceToken", "the token is not hexadecimal")
		r.Gone = s.cfg.APNSClearBadTokens
		return r
	}
	ctx, done := s.life.Begin(ctx)
	defer done()
	for renewed := false; ; renewed = true {
		header := s.header(m, p)
		signed := ""
		if s.signer != nil {
			var err error
			if signed, err = s.signer.token(); err != nil {
				return provider.Block("InvalidProviderToken", "the key does not sign")
			}
			header.Set("Authorization", "bearer "+signed)
		}
		answer, err := s.client.Post(ctx, provider.Request{URL: s.url + token, Header: header, Body: p.body})
		if err != nil {
			return s.broken(ctx, err)
		}
		result := s.result(answer).Scrub(signed, m.Token, token)
		if result.Code == "ExpiredProviderToken" && s.signer != nil && !renewed && s.signer.renew(signed) {
			continue
		}
		return result
	}
}

// broken is what a failed exchange comes to. A certificate may be refused before
// anything is said; if the connection is gone before that is read, the service counts as
// unreachable, and a later attempt will tell.
func (s *sender) broken(ctx context.Context, err error) provider.Result {
	if text := err.Error(); s.certificate && strings.Contains(text, "remote error: tls: ") && strings.Contains(text, "certificate") {
		return provider.Block("BadCertificate", "APNs refuses the certificate")
	}
	return provider.NetResult(ctx, err)
}

func (s *sender) header(m provider.Message, p *payload) http.Header {
	h := http.Header{}
	h["apns-push-type"] = []string{p.pushType}
	h["apns-expiration"] = []string{"0"}
	if !m.Expires.IsZero() {
		h["apns-expiration"] = []string{strconv.FormatInt(m.Expires.Unix(), 10)}
	}
	if priority := priority(m, p); priority != "" {
		h["apns-priority"] = []string{priority}
	}
	switch {
	case p.topic != "":
		h["apns-topic"] = []string{p.topic}
	case s.topic != "":
		h["apns-topic"] = []string{withSuffix(s.topic, suffixes[p.pushType])}
	}
	switch {
	case p.id != "":
		h["apns-id"] = []string{p.id}
	case !m.ID.IsZero():
		h["apns-id"] = []string{m.ID.String()}
	}
	if p.collapseID != "" {
		h["apns-collapse-id"] = []string{p.collapseID}
	}
	return h
}

// withSuffix ends a topic in a suffix, unless it does already: certificates for VoIP
// have topics that do.
func withSuffix(topic, suffix string) string {
	if strings.HasSuffix(topic, suffix) {
		return topic
	}
	return topic + suffix
}

// priority is empty where APNs' own default is wanted.
func priority(m provider.Message, p *payload) string {
	switch {
	case p.priority != "":
		return p.priority
	case p.pushType == "background" || m.Priority == provider.PriorityNormal:
		return "5"
	case m.Priority == provider.PriorityHigh:
		return "10"
	}
	return ""
}

// normalised is a token without the marks that some clients leave in it; false: it is
// none.
func normalised(token string) (string, bool) {
	token = strings.ToLower(strings.NewReplacer("<", "", ">", "", " ", "").Replace(token))
	if token == "" || len(token) > maxToken {
		return "", false
	}
	for i := range len(token) {
		if c := token[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return "", false
		}
	}
	return token, true
}

// Probe sends to a token that no device has: APNs looks at the credentials first.
func (s *sender) Probe(ctx context.Context) provider.Verdict {
	r := s.Send(ctx, provider.Message{Token: probeToken, Payload: &payload{body: []byte(`{"aps":{}}`), pushType: "alert"}})
	switch {
	case r.Outcome == provider.Sent, r.Code == "BadDeviceToken", r.Gone, r.Code == "DeviceTokenNotForTopic":
		return provider.Verdict{State: provider.Verified}
	case r.Outcome == provider.Blocked:
		return provider.Verdict{State: provider.Rejected, Code: r.Code, Message: provider.Clip("APNs refuses the credentials: " + r.Code)}
	}
	return provider.Verdict{Code: r.Code, Message: r.Message}
}

// Close ends what runs and closes the connection.
func (s *sender) Close() {
	s.life.Close()
	s.client.Close()
	if s.release != nil {
		s.release()
	}
}

// mocked sends nothing.
type mocked struct{ life *provider.Life }

// Send is provider.Pretend.
func (m *mocked) Send(ctx context.Context, message provider.Message) provider.Result {
	if _, ok := message.Payload.(*payload); !ok {
		return provider.Fail(provider.CodeBadPayload, "the payload is not for an apple notifier")
	}
	ctx, done := m.life.Begin(ctx)
	defer done()
	return provider.Pretend(ctx, message)
}

// Probe finds nothing out.
func (m *mocked) Probe(context.Context) provider.Verdict { return provider.Verdict{} }

// Close ends what runs.
func (m *mocked) Close() { m.life.Close() }
