package webpush

import (
	"crypto/ecdh"
	"encoding/json"
	"net/url"
	"strings"

	"github.com/trellisdb/trellis/push/provider"
	"github.com/trellisdb/trellis/storage/fault"
)

const (
	maxSubscription = 8 << 10 // bytes
	maxEndpoint     = 2 << 10 // bytes
)

// subscription is a browser's PushSubscription.
type subscription struct {
	endpoint *url.URL
	key      *ecdh.PublicKey
	auth     []byte
}

// parseSubscription reads a subscription's JSON object.
func parseSubscription(raw []byte) (*subscription, error) {
	var said struct {
		Endpoint string `json:"endpoint"`
		Keys     struct {
			P256DH string `json:"p256dh"`
			Auth   string `json:"auth"`
		} `json:"keys"`
	}
	if len(raw) > maxSubscription {
		return nil, fault.New(fault.IllegalArgument, "a push subscription is longer than %d bytes", maxSubscription)
	}
	if err := json.Unmarshal(raw, &said); err != nil {
		return nil, fault.New(fault.IllegalArgument, "a push subscription is no object with endpoint and keys")
	}
	endpoint, err := provider.ParseURL(said.Endpoint)
	if err != nil || len(said.Endpoint) > maxEndpoint {
		return nil, fault.New(fault.IllegalArgument, "the endpoint of a push subscription is missing or no https URL")
	}
	point, err := provider.DecodeBase64(said.Keys.P256DH)
	if err != nil {
		return nil, fault.New(fault.IllegalArgument, "keys.p256dh of a push subscription is no base64url")
	}
	key, err := ecdh.P256().NewPublicKey(point)
	if err != nil {
		return nil, fault.New(fault.IllegalArgument, "keys.p256dh of a push subscription is missing or no point of the curve P-256")
	}
	auth, err := provider.DecodeBase64(said.Keys.Auth)
	if err != nil || len(auth) != 16 {
		return nil, fault.New(fault.IllegalArgument, "keys.auth of a push subscription is missing or not 16 bytes in base64url")
	}
	return &subscription{endpoint: endpoint, key: key, auth: auth}, nil
}

// origin is the audience of a token for the endpoint (RFC 6454).
func (s *subscription) origin() string {
	host := strings.ToLower(s.endpoint.Host)
	return "https://" + strings.TrimSuffix(host, ":443")
}

// subscriptionJSON is the object that a device holds: as it is, or as a string.
func subscriptionJSON(value json.RawMessage) []byte {
	if text, ok := provider.JSONText(value); ok {
		return []byte(text)
	}
	return value
}

// Token reads a device's subscription: an object, or a string of one. What is shown of
// it is the endpoint.
func (p *Provider) Token(value json.RawMessage) (provider.Token, bool) {
	text := string(subscriptionJSON(value))
	if text == "" || text == "null" {
		return provider.Token{}, false
	}
	t := provider.Token{Text: text, Shown: text}
	var said struct {
		Endpoint string `json:"endpoint"`
	}
	if len(text) > maxSubscription {
		t.Text, t.Shown = text[:maxSubscription+1], "" // too long for a subscription, still
	} else if err := json.Unmarshal([]byte(text), &said); err == nil {
		t.Shown = said.Endpoint
	}
	return t, true
}

// ValidToken wants a whole subscription, or none.
func (p *Provider) ValidToken(value json.RawMessage) error {
	t, ok := p.Token(value)
	if !ok {
		return nil
	}
	_, err := parseSubscription([]byte(t.Text))
	return err
}
