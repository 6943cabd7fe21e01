package noop_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/trellisdb/trellis/push/noop"
	"github.com/trellisdb/trellis/push/provider"
	"github.com/trellisdb/trellis/push/providertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func payload(t testing.TB, text string) provider.Payload {
	t.Helper()
	p, err := noop.Provider{}.Translate(provider.Notifier{}, json.RawMessage(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func open(t testing.TB) provider.Sender {
	t.Helper()
	s, err := noop.Provider{}.Open(provider.Notifier{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSuite(t *testing.T) {
	arrived := make(chan struct{})
	close(arrived)
	providertest.Run(t, providertest.Suite{
		Open: func(t *testing.T, _ time.Duration) (provider.Sender, provider.Payload) {
			return open(t), payload(t, `"x"`)
		},
		Fine:      func(i int) string { return fmt.Sprint("device-", i) },
		Transient: func() string { return "retry:1" },
		Hanging:   func() (string, <-chan struct{}) { return "slow:60000", arrived },
	})
}

// TestHooks are what a token can ask for.
func TestHooks(t *testing.T) {
	s := open(t)
	defer s.Close()
	for _, tc := range []struct {
		token   string
		attempt int
		want    provider.Result
	}{
		{"abc", 1, provider.Result{}},
		{"", 1, provider.Result{}},
		{"other:x", 1, provider.Result{}},
		{"fail:E42", 1, provider.Result{Outcome: provider.Failed, Code: "E42"}},
		{"block:E43", 1, provider.Result{Outcome: provider.Blocked, Code: "E43", Level: provider.NotifierLevel}},
		{"gone:", 1, provider.Result{Outcome: provider.Failed, Code: "gone", Gone: true}},
		{"move:NEW", 1, provider.Result{NewToken: "NEW"}},
		{"retry:2", 1, provider.Result{Outcome: provider.Retry, Code: "retry"}},
		{"retry:2", 2, provider.Result{Outcome: provider.Retry, Code: "retry"}},
		{"retry:2", 3, provider.Result{}},
		{"retry:x", 1, provider.Result{}},
		{"slow:5", 1, provider.Result{}},
		{"slow:x", 1, provider.Result{}},
	} {
		got := s.Send(t.Context(), provider.Message{Token: tc.token, Payload: payload(t, `1`), Attempt: tc.attempt})
		got.Message = ""
		if got != tc.want {
			t.Errorf("%s at attempt %d is %+v, want %+v", tc.token, tc.attempt, got, tc.want)
		}
	}
}

func TestAnythingIsTaken(t *testing.T) {
	for text, want := range map[string]string{`{"a":1}`: `{"a":1}`, `"x"`: `{"payload":"x"}`, `1`: `{"payload":1}`, `null`: `{"payload":null}`} {
		if got := string(payload(t, text).Receipt()); got != want {
			t.Errorf("%s is received as %s", text, got)
		}
	}
	n := providertest.Check(t, noop.Provider{}, map[string]any{"provider": "noop", "p12Certificate": "x", "apiKey": 1, "environment": 7, "color": "red"})
	if len(n.Secrets) != 0 || n.Properties["p12Certificate"] != nil || n.Text("color") != "red" {
		t.Errorf("the notifier is %v %v", n.Properties, n.Secrets)
	}
}
