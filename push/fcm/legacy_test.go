package fcm_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/trellisdb/trellis/push/fcm"
	"github.com/trellisdb/trellis/push/provider"
	"github.com/trellisdb/trellis/push/providertest"
)

const apiKey = "AIza-legacy-key"

func legacyBody() map[string]any {
	return map[string]any{"name": "droid", "provider": "google", "apiKey": apiKey, "environment": "environment"}
}

func newLegacy(t testing.TB, change func(*provider.Config)) (*providertest.GCM, *rig) {
	t.Helper()
	g := providertest.NewGCM(t)
	g.AddKey(apiKey)
	r := &rig{cfg: provider.DefaultConfig()}
	r.cfg.GCM, r.cfg.RootCAs = g.Endpoint(), g.RootCAs()
	if change != nil {
		change(&r.cfg)
	}
	var err error
	if r.provider, err = fcm.New(r.cfg); err != nil {
		t.Fatal(err)
	}
	return g, r
}

func TestLegacySuite(t *testing.T) {
	g, r := newLegacy(t, nil)
	providertest.Run(t, providertest.Suite{
		Open: func(t *testing.T, timeout time.Duration) (provider.Sender, provider.Payload) {
			cfg := r.cfg
			cfg.Timeout = timeout
			p, err := fcm.New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			n := providertest.Check(t, p, legacyBody())
			s, err := p.Open(n)
			if err != nil {
				t.Fatal(err)
			}
			return s, translate(t, p, n, `"hello"`)
		},
		Fine:      func(i int) string { return fmt.Sprintf("device-%d", i) },
		Transient: func() string { g.On("flaky", providertest.Answer{Status: 503}); return "flaky" },
		Hanging: func() (string, <-chan struct{}) {
			g.Always("hangs", providertest.Answer{Hang: true})
			return "hangs", g.Arrived("hangs")
		},
		Echoing: func() string {
			g.Always("echo-device", providertest.Answer{Status: 400, Echo: true})
			return "echo-device"
		},
		Secrets: []string{apiKey},
	})
}

func TestLegacyBody(t *testing.T) {
	g, r := newLegacy(t, nil)
	s, n := r.open(t, legacyBody())
	for payload, want := range map[string]string{
		`"hi"`: `{"registration_ids":["t1"],"data":{"data":"hi"},"time_to_live":60,"priority":"high"}`,
		`{"n":3,"priority":"normal","time_to_live":5,"collapse_key":"c"}`: `{"registration_ids":["t1"],"data":{"n":3},"time_to_live":5,"priority":"normal","collapse_key":"c"}`,
		`{"message":{"a":1}}`: `{"registration_ids":["t1"],"data":{"message":{"a":1}},"time_to_live":60,"priority":"high"}`,
	} {
		m := provider.Message{Token: "t1", Payload: translate(t, r.provider, n, payload), Priority: provider.PriorityHigh, Expires: time.Now().Add(60*time.Second + 900*time.Millisecond)}
		if got := s.Send(t.Context(), m); got.Outcome != provider.Sent || got.ProviderID != "0:1" {
			t.Fatalf("it comes to %+v", got)
		}
		if sent := string(g.Last("t1").Body); sent != want {
			t.Errorf("sent is\n%s, want\n%s", sent, want)
		}
	}
}

// TestLegacyBatch is a batch of every kind of result.
func TestLegacyBatch(t *testing.T) {
	g, r := newLegacy(t, nil)
	s, n := r.open(t, legacyBody())
	p := translate(t, r.provider, n, `"hi"`)
	for token, a := range map[string]providertest.Answer{
		"gone": {Reason: "NotRegistered"}, "bad": {Reason: "InvalidRegistration"}, "moved": {Canonical: "new"}, "busy": {Reason: "Unavailable"},
		"other": {Reason: "MismatchSenderId"}, "rate": {Reason: "DeviceMessageRateExceeded"}, "odd": {Reason: "MissingCollapseKey"},
	} {
		g.Always(token, a)
	}
	batcher := s.(provider.Batcher)
	if batcher.MaxBatch() != 1000 {
		t.Errorf("a batch has %d messages", batcher.MaxBatch())
	}
	tokens := []string{"fine", "gone", "bad", "moved", "busy", "fine", "other", "rate", "odd"}
	var messages []provider.Message
	for _, token := range tokens {
		messages = append(messages, provider.Message{Token: token, Payload: p})
	}
	got := batcher.SendBatch(t.Context(), messages)
	for i, want := range []provider.Result{
		{Outcome: provider.Sent}, {Outcome: provider.Failed, Code: "NotRegistered", Gone: true}, {Outcome: provider.Failed, Code: "InvalidRegistration", Gone: true},
		{Outcome: provider.Sent, NewToken: "new"}, {Outcome: provider.Retry, Code: "Unavailable", Level: provider.NotifierLevel}, {Outcome: provider.Sent},
		{Outcome: provider.Failed, Code: "MismatchSenderId", Level: provider.NotifierLevel}, {Outcome: provider.Retry, Code: "DeviceMessageRateExceeded"},
		{Outcome: provider.Failed, Code: "MissingCollapseKey"},
	} {
		g := got[i]
		if g.Outcome != want.Outcome || g.Code != want.Code || g.Gone != want.Gone || g.NewToken != want.NewToken || g.Level != want.Level {
			t.Errorf("%s is %+v, want %+v", tokens[i], g, want)
		}
	}
	if n := g.Count("fine"); n != 1 {
		t.Errorf("a token that is twice in a batch was sent to %d times", n)
	}
	many := make([]provider.Message, 1000)
	for i := range many {
		many[i] = provider.Message{Token: fmt.Sprintf("%0200d", i), Payload: p}
	}
	for i, r := range batcher.SendBatch(t.Context(), many) {
		if r.Outcome != provider.Sent {
			t.Fatalf("message %d of 1000: %+v", i, r)
		}
	}
	if out := batcher.SendBatch(t.Context(), append(many, many...)); len(out) != 2000 || out[1999].Outcome != provider.Failed {
		t.Errorf("a batch that is too long comes to %+v", out[0])
	}
	if out := batcher.SendBatch(t.Context(), nil); out != nil {
		t.Errorf("no messages come to %+v", out)
	}
}

func TestLegacyAnswers(t *testing.T) {
	g, r := newLegacy(t, nil)
	s, n := r.open(t, legacyBody())
	p := translate(t, r.provider, n, `"hi"`)
	for _, tc := range []struct {
		answer  providertest.Answer
		outcome provider.Outcome
		code    string
	}{
		{providertest.Answer{Status: 401}, provider.Failed, "InvalidRegistration"},
		{providertest.Answer{Status: 400}, provider.Failed, provider.CodeBadAnswer},
		{providertest.Answer{Status: 429, Header: http.Header{"Retry-After": {"9"}}}, provider.Retry, "DeviceMessageRateExceeded"},
		{providertest.Answer{Status: 500, Header: http.Header{"Retry-After": {"9"}}}, provider.Retry, "Unavailable"},
		{providertest.Answer{Status: 200, Body: `{"results":[]}`}, provider.Retry, provider.CodeBadAnswer},
		{providertest.Answer{Status: 200, Body: `<html>`}, provider.Retry, provider.CodeBadAnswer},
	} {
		g.On("t1", tc.answer)
		got := s.Send(t.Context(), provider.Message{Token: "t1", Payload: p})
		if got.Outcome != tc.outcome || got.Code != tc.code || got.Gone || got.Level != provider.NotifierLevel {
			t.Errorf("%+v comes to %+v", tc.answer, got)
		}
		if tc.answer.Header != nil && got.RetryAfter != 9*time.Second {
			t.Errorf("%+v is to be tried after %s", tc.answer, got.RetryAfter)
		}
	}
}

// TestLegacyWithoutAnEndpoint fails each delivery, and tells the operator.
func TestLegacyWithoutAnEndpoint(t *testing.T) {
	_, r := newLegacy(t, func(cfg *provider.Config) { cfg.GCM = "" })
	s, n := r.open(t, legacyBody())
	got := s.Send(t.Context(), provider.Message{Token: "t1", Payload: translate(t, r.provider, n, `"hi"`)})
	if got.Outcome != provider.Failed || got.Code != "LegacyCredentialsUnsupported" || got.Gone || got.Level != provider.NotifierLevel {
		t.Errorf("it comes to %+v", got)
	}
	if v := s.Probe(t.Context()); v.State != provider.Unsupported || !strings.Contains(v.Message, "serviceAccount") {
		t.Errorf("the probe says %+v", v)
	}
}

func TestLegacyProbe(t *testing.T) {
	g, r := newLegacy(t, nil)
	s, _ := r.open(t, legacyBody())
	if v := s.Probe(t.Context()); v.State != provider.Verified {
		t.Errorf("a good key: %+v", v)
	}
	if !strings.Contains(string(g.Last("trellis-probe").Body), `"dry_run":true`) {
		t.Error("the probe is no dry run")
	}
	bad := legacyBody()
	bad["apiKey"] = "other"
	s, _ = r.open(t, bad)
	if v := s.Probe(t.Context()); v.State != provider.Rejected {
		t.Errorf("a bad key: %+v", v)
	}
	g.On("trellis-probe", providertest.Answer{Status: 500})
	if v := s.Probe(t.Context()); v.State != provider.Untested || v.Message == "" {
		t.Errorf("a service that is not well: %+v", v)
	}
}
