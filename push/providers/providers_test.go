package providers_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/trellisdb/trellis/push/provider"
	"github.com/trellisdb/trellis/push/providers"
	"github.com/trellisdb/trellis/push/providertest"
	"github.com/trellisdb/trellis/storage/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestEverySendsThrough: a notifier of each kind, made as a client makes it, sends to a
// service that is configured as cmd does it.
func TestEverySendsThrough(t *testing.T) {
	s := providertest.Start(t)
	all, err := providers.New(s.Config())
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		body  map[string]any
		token string
	}{
		{s.AppleBody(t, "ios"), `"<AB12>"`},
		{s.GoogleBody(t, "droid"), `"token-1"`},
		{s.LegacyBody("old"), `"token-2"`},
		{s.WindowsBody("win"), `"` + s.WNS.Channel("c1") + `"`},
		{s.WebPushBody("web"), s.WebPush.Subscribe("b1", "")},
		{map[string]any{"name": "fake", "provider": "noop"}, `"x"`},
	} {
		t.Run(fmt.Sprint(tc.body["name"]), func(t *testing.T) {
			n, err := all.Check(providertest.Input(t, tc.body))
			if err != nil {
				t.Fatal(err)
			}
			p, err := all.Of(n)
			if err != nil {
				t.Fatal(err)
			}
			sender, err := p.Open(n)
			if err != nil {
				t.Fatal(err)
			}
			defer sender.Close()
			if v := sender.Probe(t.Context()); v.State != provider.Verified && v != (provider.Verdict{}) {
				t.Errorf("the probe says %+v", v)
			}
			payload, err := p.Translate(n, json.RawMessage(`"hello"`))
			if err != nil {
				t.Fatal(err)
			}
			token, ok := p.Token(json.RawMessage(tc.token))
			if !ok {
				t.Fatal("the token is none")
			}
			if got := sender.Send(t.Context(), provider.Message{Token: token.Text, Payload: payload, Attempt: 1}); got.Outcome != provider.Sent {
				t.Errorf("it comes to %+v", got)
			}
		})
	}
}

func TestWhatIsWrongWithTheProvider(t *testing.T) {
	all, err := providers.New(provider.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := all.Check(providertest.Input(t, map[string]any{"name": "x"})); !fault.Is(err, fault.RequiredProperty) {
		t.Errorf("no provider: %v", err)
	}
	_, err = all.Check(providertest.Input(t, map[string]any{"provider": "pigeon"}))
	if !fault.Is(err, fault.IllegalArgument) {
		t.Errorf("an unknown provider: %v", err)
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%v does not name %s", err, name)
		}
	}
	for _, provided := range []any{1, map[string]any{}} {
		if _, err := all.Check(providertest.Input(t, map[string]any{"provider": provided})); !fault.Is(err, fault.IllegalArgument) {
			t.Errorf("provider %v: %v", provided, err)
		}
	}
}

// TestUpdate keeps what is not sent, and leaves nothing of another provider.
func TestUpdate(t *testing.T) {
	all, err := providers.New(provider.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	stored, err := all.Check(providertest.Input(t, map[string]any{
		"name": "x", "provider": "windows", "sid": "ms-app://1", "apiKey": "the-old-key", "color": "red", "size": 3, "verified": true, "verifyMessage": "m",
	}))
	if err != nil {
		t.Fatal(err)
	}
	if stored.Properties["verified"] != nil || stored.Properties["verifyMessage"] != nil {
		t.Errorf("a client has verified a notifier: %v", stored.Properties)
	}
	in := providertest.Input(t, map[string]any{"color": nil, "shape": "round"})
	in.Stored = &stored
	n, err := all.Check(in)
	if err != nil || n.Secrets["apiKey"] != "the-old-key" || n.Properties["color"] != nil || n.Text("shape") != "round" || string(n.Properties["size"]) != "3" {
		t.Errorf("an update: %v %v, %v", n.Properties, n.Secrets, err)
	}
	in = providertest.Input(t, map[string]any{"provider": "google", "apiKey": "the-new-key"})
	in.Stored = &stored
	n, err = all.Check(in)
	if err != nil || n.Secrets["apiKey"] != "the-new-key" || n.Properties["sid"] != nil || n.Properties["logging"] != nil || n.Text("color") != "red" {
		t.Errorf("another provider: %v %v, %v", n.Properties, n.Secrets, err)
	}
	in = providertest.Input(t, map[string]any{"provider": "google"})
	in.Stored = &stored
	if _, err = all.Check(in); !fault.Is(err, fault.RequiredProperty) {
		t.Errorf("another provider with the secret of the one before: %v", err)
	}
	if stored.Secrets["apiKey"] != "the-old-key" || stored.Text("color") != "red" {
		t.Errorf("the stored notifier was changed: %v %v", stored.Properties, stored.Secrets)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for name, change := range map[string]func(*provider.Config){
		"no APNs": func(c *provider.Config) { c.APNSProduction = "" }, "http": func(c *provider.Config) { c.FCM = "http://example.test" },
		"no URL": func(c *provider.Config) { c.GCM = "::" }, "no time-out": func(c *provider.Config) { c.Timeout = 0 },
		"payload": func(c *provider.Config) { c.APNSMaxPayload = 5000 }, "any host": func(c *provider.Config) { c.WNSHosts = []string{"."} },
		"no clock": func(c *provider.Config) { c.Now = nil },
	} {
		cfg := provider.DefaultConfig()
		change(&cfg)
		if _, err := providers.New(cfg); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}
