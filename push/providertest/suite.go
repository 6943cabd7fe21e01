package providertest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/trellisdb/trellis/push/provider"
	"github.com/trellisdb/trellis/storage/entity"
)

// Suite is what Run needs to know of a provider.
type Suite struct {
	// Open opens a sender that waits for its service so long, at most, and returns a
	// payload for it.
	Open func(t *testing.T, timeout time.Duration) (provider.Sender, provider.Payload)

	// Fine is a token to which sending succeeds; a different one for every i.
	Fine func(i int) string
	// Transient is a token to which sending fails once, and then succeeds.
	Transient func() string
	// Hanging is a token for which the service answers nothing. The channel is closed
	// when the service has a message for it.
	Hanging func() (string, <-chan struct{})
	// Echoing is a token for which the service fails and repeats all it was sent. Nil:
	// there is no service.
	Echoing func() string
	// Secrets must not occur in any result.
	Secrets []string
}

// foreign is a payload of no provider.
type foreign struct{ provider.Payload }

// Run tests what every sender promises.
func Run(t *testing.T, s Suite) {
	t.Run("Sends", s.sends)
	t.Run("TransientThenSent", s.transient)
	t.Run("HangEndsWithTheCallersDeadline", s.deadline)
	t.Run("HangEndsWhenTheCallerLeaves", s.cancel)
	t.Run("CloseEndsWhatRuns", s.close)
	t.Run("ManyAtOnceBesideOneThatHangs", s.concurrent)
	t.Run("RefusesForeignPayloads", s.foreign)
	if s.Echoing != nil { // there is a service to wait for, and one that could repeat secrets
		t.Run("HangEndsWithTheTimeout", s.timeout)
		t.Run("ResultsHoldNoSecrets", s.secrets)
	}
}

func message(token string, p provider.Payload) provider.Message {
	return provider.Message{ID: entity.NewID(), Token: token, Payload: p, Attempt: 1}
}

func (s Suite) sends(t *testing.T) {
	sender, p := s.Open(t, time.Minute)
	defer sender.Close()
	if r := sender.Send(t.Context(), message(s.Fine(0), p)); r.Outcome != provider.Sent || r.Code != "" || r.Message != "" {
		t.Fatalf("a plain message is %+v", r)
	}
	if v := sender.Probe(t.Context()); v.State == provider.Rejected || v.Message != "" {
		t.Errorf("the probe of good credentials is %+v", v)
	}
}

func (s Suite) transient(t *testing.T) {
	sender, p := s.Open(t, time.Minute)
	defer sender.Close()
	m := message(s.Transient(), p)
	r := sender.Send(t.Context(), m)
	if r.Outcome != provider.Retry || r.Code == "" || r.Message == "" || r.Gone {
		t.Fatalf("a service that is not well yields %+v", r)
	}
	m.Attempt, m.Accepted = 2, r.Accepted
	if r := sender.Send(t.Context(), m); r.Outcome != provider.Sent {
		t.Fatalf("the second attempt is %+v", r)
	}
}

func (s Suite) deadline(t *testing.T) {
	sender, p := s.Open(t, time.Minute)
	defer sender.Close()
	token, _ := s.Hanging()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if r := sender.Send(ctx, message(token, p)); r.Outcome != provider.Retry || r.Code != provider.CodeTimeout {
		t.Fatalf("a service that hangs yields %+v", r)
	}
}

func (s Suite) timeout(t *testing.T) {
	sender, p := s.Open(t, 300*time.Millisecond)
	defer sender.Close()
	token, _ := s.Hanging()
	if r := sender.Send(t.Context(), message(token, p)); r.Outcome != provider.Retry || r.Code != provider.CodeTimeout || r.Level != provider.NotifierLevel {
		t.Fatalf("a service that hangs yields %+v", r)
	}
}

func (s Suite) cancel(t *testing.T) {
	sender, p := s.Open(t, time.Minute)
	defer sender.Close()
	token, arrived := s.Hanging()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
	}()
	if r := sender.Send(ctx, message(token, p)); r.Outcome != provider.Retry || r.Code != provider.CodeCanceled {
		t.Fatalf("a caller that leaves gets %+v", r)
	}
}

func (s Suite) close(t *testing.T) {
	sender, p := s.Open(t, time.Minute)
	token, arrived := s.Hanging()
	got := make(chan provider.Result)
	go func() { got <- sender.Send(t.Context(), message(token, p)) }()
	<-arrived
	go sender.Close()
	if r := <-got; r.Outcome != provider.Retry || r.Code != provider.CodeClosed {
		t.Errorf("a message that is sent when the sender is closed is %+v", r)
	}
	sender.Close()
	if r := sender.Send(t.Context(), message(s.Fine(0), p)); r.Outcome != provider.Retry || r.Code != provider.CodeClosed {
		t.Errorf("a message to a closed sender is %+v", r)
	}
}

func (s Suite) concurrent(t *testing.T) {
	sender, p := s.Open(t, time.Minute)
	defer sender.Close()
	token, arrived := s.Hanging()
	ctx, cancel := context.WithCancel(t.Context())
	hung := make(chan struct{})
	go func() {
		defer close(hung)
		sender.Send(ctx, message(token, p))
	}()
	defer func() { cancel(); <-hung }()
	<-arrived
	var all sync.WaitGroup
	errs := make(chan error, 64)
	for i := range 64 {
		all.Go(func() {
			if r := sender.Send(t.Context(), message(s.Fine(i), p)); r.Outcome != provider.Sent {
				errs <- fmt.Errorf("message %d of many is %+v", i, r)
			}
		})
	}
	all.Wait()
	close(errs)
	var failed []error
	for err := range errs {
		failed = append(failed, err)
	}
	if err := errors.Join(failed...); err != nil {
		t.Fatal(err)
	}
}

func (s Suite) foreign(t *testing.T) {
	sender, _ := s.Open(t, time.Minute)
	defer sender.Close()
	if r := sender.Send(t.Context(), message(s.Fine(0), foreign{})); r.Outcome != provider.Failed || r.Code != provider.CodeBadPayload {
		t.Fatalf("a payload of another provider is %+v", r)
	}
}

func (s Suite) secrets(t *testing.T) {
	sender, p := s.Open(t, time.Minute)
	defer sender.Close()
	token := s.Echoing()
	r := sender.Send(t.Context(), message(token, p))
	if r.Outcome == provider.Sent || len(r.Message) > provider.MaxMessageBytes {
		t.Fatalf("a service that fails yields %+v", r)
	}
	text := fmt.Sprintf("%+v", r)
	for _, secret := range append(s.Secrets, token) {
		if strings.Contains(text, secret) {
			t.Errorf("the result %q holds %q", text, secret)
		}
	}
}
