package push

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/trellisdb/trellis/push/provider"
	"github.com/trellisdb/trellis/storage/fault"
)

// Stored makes a notifier of what is stored: its properties, and its secrets, a JSON
// object by property; nil: it has none.
func Stored(properties, secrets []byte) (*provider.Notifier, error) {
	n := provider.Notifier{Secrets: provider.Secrets{}}
	if err := json.Unmarshal(properties, &n.Properties); err != nil {
		return nil, fmt.Errorf("push: properties of a notifier are damaged")
	}
	if len(secrets) > 0 {
		if err := json.Unmarshal(secrets, (*map[string]string)(&n.Secrets)); err != nil {
			return nil, fmt.Errorf("push: secrets of a notifier are damaged")
		}
	}
	return &n, nil
}

// CheckNotifier makes a notifier of what a client sent and of what is stored:
// properties are the JSON object to store, secrets what Stored reads. It asks the
// service about the credentials, as Config.Verify says. Faults are IllegalArgument,
// RequiredProperty and, if the service refuses the credentials, Connection.
func (e *Engine) CheckNotifier(ctx context.Context, in provider.Input) (properties, secrets []byte, err error) {
	n, err := e.cfg.Providers.Check(in)
	if err != nil {
		return nil, nil, err
	}
	if err := e.verify(ctx, n); err != nil {
		return nil, nil, err
	}
	return provider.Marshal(n.Properties), provider.Marshal(map[string]string(n.Secrets)), nil
}

// verify tests credentials, and notes in the notifier what came of it.
func (e *Engine) verify(ctx context.Context, n provider.Notifier) error {
	if e.cfg.Verify == VerifyOff {
		return nil
	}
	p, err := e.cfg.Providers.Of(n)
	if err != nil {
		return err
	}
	s, err := p.Open(n)
	if err != nil {
		return err
	}
	defer s.Close()
	ctx, cancel := context.WithTimeout(ctx, e.cfg.VerifyWithin)
	defer cancel()
	verdict := s.Probe(ctx)
	switch verdict.State {
	case provider.Verified:
		n.Set("verified", true)
	case provider.Rejected:
		if e.cfg.Verify == VerifyStrict {
			return fault.New(fault.Connection, "the push service refuses the credentials: %s", verdict.Message)
		}
		n.Set("verified", false)
		n.SetText("verifyMessage", verdict.Message)
	case provider.Unsupported:
		n.Set("verified", false)
		n.SetText("verifyMessage", verdict.Message)
	}
	return nil
}

// CheckPayload says with an IllegalArgument what is wrong with a payload for a notifier,
// given by its stored properties.
func (e *Engine) CheckPayload(notifier, payload []byte) error {
	n, p, err := e.stored(notifier)
	if err != nil {
		return err
	}
	_, err = p.Translate(*n, payload)
	return err
}

// CheckToken says with an IllegalArgument why a device cannot be registered with a value.
func (e *Engine) CheckToken(notifier, value []byte) error {
	_, p, err := e.stored(notifier)
	if err != nil {
		return err
	}
	return p.ValidToken(value)
}

// HasToken tells whether a value registers a device.
func (e *Engine) HasToken(notifier, value []byte) bool {
	_, p, err := e.stored(notifier)
	if err != nil {
		return false
	}
	t, ok := p.Token(value)
	return ok && t.Text != ""
}

func (e *Engine) stored(properties []byte) (*provider.Notifier, provider.Provider, error) {
	n, err := Stored(properties, nil)
	if err != nil {
		return nil, nil, err
	}
	p, err := e.cfg.Providers.Of(*n)
	return n, p, err
}

// translate makes of a notification what is sent through a notifier.
func (e *Engine) translate(r *route, n *note) (provider.Payload, error) {
	payload := r.payloadOf(n)
	if payload == nil {
		return nil, fault.New(fault.IllegalArgument, "the notification has no payload for the notifier any more")
	}
	stored, err := Stored(r.json, nil)
	if err != nil {
		return nil, err
	}
	return r.provider.Translate(*stored, payload)
}
