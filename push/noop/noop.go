// Package noop is the provider that sends nothing and says that it did, for tests and
// for trying things out. A token can ask for something else: provider.Pretend.
package noop

import (
	"context"
	"encoding/json"

	"github.com/trellisdb/trellis/push/provider"
	"github.com/trellisdb/trellis/storage/fault"
)

// Provider is provider.Provider without a service. It is safe for concurrent use.
type Provider struct{}

// Check takes anything, and keeps no secret of it.
func (Provider) Check(_ *provider.Input, n *provider.Notifier) error {
	clear(n.Secrets)
	return nil
}

type payload json.RawMessage

// Receipt is what the client sent, as an object.
func (p payload) Receipt() json.RawMessage { return provider.Shown(json.RawMessage(p)) }

// Translate takes any JSON.
func (Provider) Translate(_ provider.Notifier, raw json.RawMessage) (provider.Payload, error) {
	if !json.Valid(raw) {
		return nil, fault.New(fault.IllegalArgument, "the payload is no JSON")
	}
	return payload(append(json.RawMessage(nil), raw...)), nil
}

// Token reads a device's token, which is a string.
func (Provider) Token(value json.RawMessage) (provider.Token, bool) { return provider.TextToken(value) }

// ValidToken refuses nothing.
func (Provider) ValidToken(json.RawMessage) error { return nil }

// Open makes a sender.
func (Provider) Open(provider.Notifier) (provider.Sender, error) {
	return &sender{life: provider.NewLife()}, nil
}

type sender struct{ life *provider.Life }

// Send is provider.Pretend.
func (s *sender) Send(ctx context.Context, m provider.Message) provider.Result {
	if _, ok := m.Payload.(payload); !ok {
		return provider.Fail(provider.CodeBadPayload, "the payload is not for a noop notifier")
	}
	ctx, done := s.life.Begin(ctx)
	defer done()
	return provider.Pretend(ctx, m)
}

// Probe finds nothing out.
func (s *sender) Probe(context.Context) provider.Verdict { return provider.Verdict{} }

// Close ends what runs.
func (s *sender) Close() { s.life.Close() }
