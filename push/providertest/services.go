package providertest

import (
	"encoding/json"
	"sync"
	"testing"

	"github.com/trellisdb/trellis/push/provider"
)

// Services are all of them.
type Services struct {
	APNs    *APNs
	FCM     *FCM
	GCM     *GCM
	WNS     *WNS
	WebPush *WebPush

	apple struct {
		sync.Once
		key string // of all notifiers that AppleBody makes
	}
}

// Start starts all of them; the test ends them.
func Start(t testing.TB) *Services {
	t.Helper()
	return &Services{APNs: NewAPNs(t), FCM: NewFCM(t), GCM: NewGCM(t), WNS: NewWNS(t), WebPush: NewWebPush(t)}
}

// Config is a configuration that leads to them.
func (s *Services) Config() provider.Config {
	cfg := provider.DefaultConfig()
	cfg.APNSProduction, cfg.APNSDevelopment = s.APNs.URL(), s.APNs.URL()
	cfg.FCM, cfg.FCMToken, cfg.GCM = s.FCM.URL(), s.FCM.TokenURL(), s.GCM.Endpoint()
	cfg.WNSToken, cfg.WNSHosts = s.WNS.TokenURL(), []string{"127.0.0.1"}
	cfg.AllowPrivate = true
	cfg.RootCAs = s.APNs.RootCAs()
	return cfg
}

// AppleBody is the body of a notifier with a key, which APNs is told of.
func (s *Services) AppleBody(t testing.TB, name string) map[string]any {
	t.Helper()
	s.apple.Do(func() {
		text, public := AuthKey(t)
		s.APNs.AddKey("TEAM123456", "ABC123DEFG", public)
		s.apple.key = text
	})
	return map[string]any{
		"name": name, "provider": provider.Apple, "environment": "development", "authKey": s.apple.key,
		"keyId": "ABC123DEFG", "teamId": "TEAM123456", "bundleId": "test.example.shop",
	}
}

// GoogleBody is the body of a notifier with a service account, which FCM is told of.
func (s *Services) GoogleBody(t testing.TB, name string) map[string]any {
	t.Helper()
	email := name + "@shop-1.iam.gserviceaccount.com"
	text, public := ServiceAccount(t, "shop-1", email, s.FCM.TokenURL())
	s.FCM.AddAccount("shop-1", email, public)
	return map[string]any{"name": name, "provider": provider.Google, "serviceAccount": json.RawMessage(text)}
}

// LegacyBody is the body of a google notifier with a key, which GCM is told of.
func (s *Services) LegacyBody(name string) map[string]any {
	s.GCM.AddKey("legacy-server-key")
	return map[string]any{"name": name, "provider": provider.Google, "apiKey": "legacy-server-key"}
}

// WindowsBody is the body of a windows notifier, which WNS is told of.
func (s *Services) WindowsBody(name string) map[string]any {
	s.WNS.AddClient("ms-app://s-1-15-2-111", "s3cret-of-wns")
	return map[string]any{"name": name, "provider": provider.Windows, "sid": "ms-app://s-1-15-2-111", "apiKey": "s3cret-of-wns", "logging": true}
}

// WebPushBody is the body of a webpush notifier.
func (s *Services) WebPushBody(name string) map[string]any {
	return map[string]any{"name": name, "provider": provider.WebPush, "subject": "mailto:ops@example.test"}
}

// Input is what a client sent as a JSON body.
func Input(t testing.TB, body map[string]any) provider.Input {
	t.Helper()
	in := provider.Input{Members: map[string]json.RawMessage{}}
	for name, value := range body {
		raw, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		in.Members[name] = raw
	}
	return in
}

// Check is Set.Check with one provider, of a body that must be right.
func Check(t testing.TB, p provider.Provider, body map[string]any) provider.Notifier {
	t.Helper()
	name, _ := body["provider"].(string)
	n, err := provider.Set{name: p}.Check(Input(t, body))
	if err != nil {
		t.Fatalf("check %v: %v", name, err)
	}
	return n
}
