package apns

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/trellisdb/trellis/push/provider"
)

// Environments of a notifier.
const (
	production  = "production"
	development = "development"
	mock        = "mock"
)

// Provider is provider.Provider for Apple's devices. It is safe for concurrent use.
type Provider struct {
	cfg     provider.Config
	signers signers
}

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

// Open makes a sender.
func (p *Provider) Open(n provider.Notifier) (provider.Sender, error) {
	s := &sender{cfg: p.cfg, life: provider.NewLife(), topic: n.Text("bundleId")}
	base := p.cfg.APNSProduction
	switch n.Text("environment") {
	case mock:
		return &mocked{life: s.life}, nil
	case development:
		base = p.cfg.APNSDevelopment
	}
	s.url = strings.TrimSuffix(base, "/") + "/3/device/"
	opt := provider.ClientOptions{HTTP2: true, Connections: 1}
	if text := n.Secrets["authKey"]; text != "" {
		key, err := parseKey(text)
		if err != nil {
			return nil, fmt.Errorf("open an apple notifier: %w", err)
		}
		s.signer, s.release = p.signers.get(n.Text("teamId"), n.Text("keyId"), key, p.cfg.Now)
	} else {
		pair, err := openStored(n.Secrets)
		if err != nil {
			return nil, fmt.Errorf("open an apple notifier: %w", err)
		}
		opt.Certificate = &tls.Certificate{Certificate: pair.chain, PrivateKey: pair.key, Leaf: pair.leaf}
		s.certificate = true
	}
	s.client = provider.NewClient(p.cfg, opt)
	return s, nil
}
