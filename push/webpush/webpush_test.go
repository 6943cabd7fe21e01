package webpush_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/trellisdb/trellis/push/provider"
	"github.com/trellisdb/trellis/push/providertest"
	"github.com/trellisdb/trellis/push/webpush"
	"github.com/trellisdb/trellis/storage/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a push service and a provider that talks to it.
type rig struct {
	service  *providertest.WebPush
	cfg      provider.Config
	provider *webpush.Provider
	notifier provider.Notifier
}

func newRig(t testing.TB, change func(*provider.Config)) *rig {
	t.Helper()
	r := &rig{service: providertest.NewWebPush(t), cfg: provider.DefaultConfig()}
	r.cfg.RootCAs, r.cfg.AllowPrivate = r.service.RootCAs(), true
	if change != nil {
		change(&r.cfg)
	}
	var err error
	if r.provider, err = webpush.New(r.cfg); err != nil {
		t.Fatal(err)
	}
	r.notifier = providertest.Check(t, r.provider, body())
	return r
}

func body() map[string]any {
	return map[string]any{"name": "web", "provider": "webpush", "subject": "mailto:ops@example.test"}
}

func (r *rig) open(t testing.TB, n provider.Notifier) provider.Sender {
	t.Helper()
	s, err := r.provider.Open(n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func (r *rig) payload(t testing.TB, text string) provider.Payload {
	t.Helper()
	p, err := r.provider.Translate(provider.Notifier{}, json.RawMessage(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// subscribe makes a subscription for the notifier's key.
func (r *rig) subscribe(device string) string {
	return r.service.Subscribe(device, r.notifier.Text("vapidPublicKey"))
}

func TestSuite(t *testing.T) {
	r := newRig(t, nil)
	providertest.Run(t, providertest.Suite{
		Open: func(t *testing.T, timeout time.Duration) (provider.Sender, provider.Payload) {
			cfg := r.cfg
			cfg.Timeout = timeout
			p, err := webpush.New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			s, err := p.Open(r.notifier)
			if err != nil {
				t.Fatal(err)
			}
			return s, r.payload(t, `"hello"`)
		},
		Fine: func(i int) string { return r.subscribe(fmt.Sprint("device-", i)) },
		Transient: func() string {
			r.service.On("flaky", providertest.Answer{Status: 503})
			return r.subscribe("flaky")
		},
		Hanging: func() (string, <-chan struct{}) {
			r.service.Always("hangs", providertest.Answer{Hang: true})
			return r.subscribe("hangs"), r.service.Arrived("hangs")
		},
		Echoing: func() string {
			r.service.Always("echo", providertest.Answer{Status: 400, Echo: true})
			return r.subscribe("echo")
		},
		Secrets: []string{r.notifier.Secrets["vapidPrivateKey"], "vapid t=", r.service.Endpoint("echo")},
	})
}

// TestAnswers is the table of push services' statuses.
func TestAnswers(t *testing.T) {
	r := newRig(t, nil)
	s, p := r.open(t, r.notifier), r.payload(t, `"hello"`)
	token := r.subscribe("t1")
	for _, tc := range []struct {
		status  int
		outcome provider.Outcome
		level   provider.Level
		gone    bool
	}{
		{200, provider.Sent, provider.TokenLevel, false},
		{201, provider.Sent, provider.TokenLevel, false},
		{202, provider.Sent, provider.TokenLevel, false},
		{400, provider.Failed, provider.TokenLevel, false},
		{401, provider.Failed, provider.TokenLevel, false},
		{403, provider.Failed, provider.TokenLevel, false},
		{404, provider.Failed, provider.TokenLevel, true},
		{410, provider.Failed, provider.TokenLevel, true},
		{413, provider.Failed, provider.TokenLevel, false},
		{429, provider.Retry, provider.TokenLevel, false},
		{500, provider.Retry, provider.NotifierLevel, false},
		{502, provider.Retry, provider.NotifierLevel, false},
		{301, provider.Failed, provider.TokenLevel, false},
	} {
		t.Run(fmt.Sprint(tc.status), func(t *testing.T) {
			r.service.On("t1", providertest.Answer{Status: tc.status, Body: "because", Header: http.Header{"Retry-After": {"13"}, "Location": {"https://example.test/m/1"}}})
			got := s.Send(t.Context(), provider.Message{Token: token, Payload: p})
			if got.Outcome != tc.outcome || got.Level != tc.level || got.Gone != tc.gone {
				t.Errorf("it comes to %+v", got)
			}
			if tc.outcome != provider.Sent && (got.Code != fmt.Sprint(tc.status) || !strings.Contains(got.Message, "because")) {
				t.Errorf("it is told as %+v", got)
			}
			if tc.outcome == provider.Sent && tc.status != 201 && got.ProviderID != "https://example.test/m/1" {
				t.Errorf("the message is called %q", got.ProviderID)
			}
			if tc.outcome == provider.Retry && got.RetryAfter != 13*time.Second {
				t.Errorf("it is to be tried after %s", got.RetryAfter)
			}
		})
	}
}

// TestSeveralRefusalsAreTheNotifiers, and one that is taken in between says otherwise.
func TestSeveralRefusalsAreTheNotifiers(t *testing.T) {
	r := newRig(t, nil)
	s, p := r.open(t, r.notifier), r.payload(t, `"hello"`)
	send := func(device string) provider.Result {
		return s.Send(t.Context(), provider.Message{Token: r.subscribe(device), Payload: p})
	}
	for _, device := range []string{"a", "b", "c"} {
		r.service.Always(device, providertest.Answer{Status: 403})
	}
	for i, want := range []provider.Level{provider.TokenLevel, provider.TokenLevel, provider.TokenLevel, provider.NotifierLevel} {
		device := []string{"a", "a", "b", "c"}[i]
		if got := send(device); got.Outcome != provider.Failed || got.Level != want {
			t.Errorf("refusal %d: %+v", i, got)
		}
	}
	send("fine")
	if got := send("a"); got.Level != provider.TokenLevel {
		t.Errorf("a refusal after a success: %+v", got)
	}
}

// TestSubscribedWithAnotherKey is refused by the service.
func TestSubscribedWithAnotherKey(t *testing.T) {
	r := newRig(t, nil)
	s, p := r.open(t, r.notifier), r.payload(t, `"hello"`)
	other := providertest.Check(t, r.provider, body())
	got := s.Send(t.Context(), provider.Message{Token: r.service.Subscribe("x", other.Text("vapidPublicKey")), Payload: p})
	if got.Outcome != provider.Failed || got.Code != "403" || got.Gone {
		t.Errorf("it comes to %+v", got)
	}
}

// TestHeadersAndPlaintext as the service sees them.
func TestHeadersAndPlaintext(t *testing.T) {
	r := newRig(t, nil)
	withTTL := body()
	withTTL["defaultTtl"] = 600
	short := providertest.Check(t, r.provider, withTTL)
	in := time.Now().Add(time.Hour + 900*time.Millisecond)
	longest := strings.Repeat("x", 3993)
	for _, tc := range []struct {
		notifier provider.Notifier
		payload  string
		message  provider.Message
		plain    string
		want     map[string]string
	}{
		{r.notifier, `"hi"`, provider.Message{}, "hi", map[string]string{"TTL": "86400", "Urgency": "normal", "Topic": ""}},
		{r.notifier, `"hi"`, provider.Message{Priority: provider.PriorityHigh, Expires: in}, "hi", map[string]string{"TTL": "3600", "Urgency": "high"}},
		{r.notifier, `"hi"`, provider.Message{Expires: in.Add(-2 * time.Hour)}, "hi", map[string]string{"TTL": "0"}},
		{short, `"hi"`, provider.Message{}, "hi", map[string]string{"TTL": "600"}},
		{r.notifier, `{"a": 1, "_webpush": {"topic": "t-1_", "urgency": "very-low", "ttl": 5}, "b": "ü"}`, provider.Message{Priority: provider.PriorityHigh, Expires: in},
			`{"a":1,"b":"ü"}`, map[string]string{"TTL": "5", "Urgency": "very-low", "Topic": "t-1_"}},
		{r.notifier, `""`, provider.Message{}, "", nil},
		{r.notifier, `"` + longest + `"`, provider.Message{}, longest, nil},
	} {
		s := r.open(t, tc.notifier)
		m := tc.message
		m.Token, m.Payload = r.service.Subscribe("t1", ""), r.payload(t, tc.payload)
		if got := s.Send(t.Context(), m); got.Outcome != provider.Sent || got.ProviderID == "" {
			t.Fatalf("%.40s comes to %+v", tc.payload, got)
		}
		sent := r.service.Last("t1")
		if string(sent.Body) != tc.plain {
			t.Errorf("%.40s is decrypted as %.40q", tc.payload, sent.Body)
		}
		for name, want := range tc.want {
			if got := sent.Header.Get(name); got != want {
				t.Errorf("%.40s: %s is %q, want %q", tc.payload, name, got, want)
			}
		}
	}
}

// TestVAPIDTokensServeForHours.
func TestVAPIDTokensServeForHours(t *testing.T) {
	var mu sync.Mutex
	now := time.Now().Add(-11 * time.Hour) // so that the service's clock finds all tokens good
	r := newRig(t, func(cfg *provider.Config) {
		cfg.Now = func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			return now
		}
	})
	s, p := r.open(t, r.notifier), r.payload(t, `"hello"`)
	send := func() {
		t.Helper()
		if got := s.Send(t.Context(), provider.Message{Token: r.subscribe("t1"), Payload: p}); got.Outcome != provider.Sent {
			t.Fatalf("it comes to %+v", got)
		}
	}
	for range 50 {
		send()
	}
	if n := r.service.Tokens(); n != 1 {
		t.Fatalf("50 messages had %d tokens", n)
	}
	mu.Lock()
	now = now.Add(8 * time.Hour)
	mu.Unlock()
	send()
	if n := r.service.Tokens(); n != 2 {
		t.Fatalf("after 8 hours there were %d tokens", n)
	}
}

// TestPrivateAddresses are refused when they are dialled, by whatever name.
func TestPrivateAddresses(t *testing.T) {
	r := newRig(t, func(cfg *provider.Config) { cfg.AllowPrivate = false })
	s, p := r.open(t, r.notifier), r.payload(t, `"hello"`)
	token := r.subscribe("t1")
	for _, endpoint := range []string{
		r.service.URL(), strings.Replace(r.service.URL(), "127.0.0.1", "localhost", 1), strings.Replace(r.service.URL(), "127.0.0.1", "[::ffff:127.0.0.1]", 1),
		"https://169.254.169.254", "https://[fd00:ec2::254]", "https://10.0.0.1", "https://0.0.0.0",
	} {
		got := s.Send(t.Context(), provider.Message{Token: strings.Replace(token, r.service.URL(), endpoint, 1), Payload: p})
		if got.Outcome != provider.Failed || got.Code != provider.CodeForbidden || got.Gone || got.Level != provider.TokenLevel {
			t.Errorf("%s comes to %+v", endpoint, got)
		}
	}
	if n := r.service.Connections(); n != 0 {
		t.Errorf("the service has seen %d connections", n)
	}
}

func TestTokens(t *testing.T) {
	r := newRig(t, nil)
	object := r.subscribe("t1")
	text := string(provider.Marshal(object))
	for _, value := range []string{object, text} {
		token, ok := r.provider.Token(json.RawMessage(value))
		if !ok || token.Text != object || token.Shown != r.service.Endpoint("t1") {
			t.Errorf("%s is %+v, %v", value, token, ok)
		}
		if err := r.provider.ValidToken(json.RawMessage(value)); err != nil {
			t.Errorf("%s: %v", value, err)
		}
	}
	for _, value := range []string{`""`, `null`, `"null"`} {
		if token, ok := r.provider.Token(json.RawMessage(value)); ok || r.provider.ValidToken(json.RawMessage(value)) != nil {
			t.Errorf("%s is registered: %+v", value, token)
		}
	}
	cut := func(old, to string) string { return strings.Replace(object, old, to, 1) }
	s, p := r.open(t, r.notifier), r.payload(t, `"hello"`)
	for _, value := range []string{
		`1`, `[]`, `{}`, `"x"`, `"https://example.test/push"`, cut(`"endpoint"`, `"x"`), cut(`"auth"`, `"x"`), cut(`"p256dh"`, `"x"`), cut(`https:`, `http:`),
		cut(`"p256dh":"B`, `"p256dh":"A`), cut(`"auth":"`, `"auth":"AAAA`), cut(`/push/`, `/`+strings.Repeat("x", 3000)), cut(`"keys":{`, `"keys":{"x":"`+strings.Repeat("x", 9000)+`",`),
	} {
		if err := r.provider.ValidToken(json.RawMessage(value)); !fault.Is(err, fault.IllegalArgument) {
			t.Errorf("%.80s is valid: %v", value, err)
		}
		token, ok := r.provider.Token(json.RawMessage(value))
		if got := s.Send(t.Context(), provider.Message{Token: token.Text, Payload: p}); !ok || got.Outcome != provider.Failed || got.Code != provider.CodeBadToken || got.Gone {
			t.Errorf("%.80s comes to %v, %+v", value, ok, got)
		}
	}
}

func TestCheck(t *testing.T) {
	r := newRig(t, nil)
	s := provider.Set{provider.WebPush: r.provider}
	n := r.notifier
	public, private := n.Text("vapidPublicKey"), n.Secrets["vapidPrivateKey"]
	if len(public) != 87 || len(private) != 43 || n.Properties["vapidPrivateKey"] != nil {
		t.Errorf("the generated keys are %q and of %d characters", public, len(private))
	}
	other := providertest.Check(t, r.provider, body())
	if other.Text("vapidPublicKey") == public {
		t.Error("two notifiers have the same keys")
	}
	for _, tc := range []struct {
		changes map[string]any
		ok      bool
	}{
		{map[string]any{"vapidPublicKey": public, "vapidPrivateKey": private}, true},
		{map[string]any{"vapidPrivateKey": private}, true},
		{map[string]any{"subject": "https://example.test/contact"}, true},
		{map[string]any{"subject": nil}, false},
		{map[string]any{"subject": "mailto:"}, false},
		{map[string]any{"subject": "ops@example.test"}, false},
		{map[string]any{"subject": "http://example.test"}, false},
		{map[string]any{"subject": "mailto:a b"}, false},
		{map[string]any{"vapidPublicKey": public}, false},
		{map[string]any{"vapidPublicKey": other.Text("vapidPublicKey"), "vapidPrivateKey": private}, false},
		{map[string]any{"vapidPublicKey": public, "vapidPrivateKey": "AAAA"}, false},
		{map[string]any{"vapidPublicKey": "!", "vapidPrivateKey": private}, false},
		{map[string]any{"vapidPrivateKey": strings.Repeat("A", 43)}, false},
		{map[string]any{"defaultTtl": 0}, true},
		{map[string]any{"defaultTtl": -1}, false},
		{map[string]any{"defaultTtl": "x"}, false},
	} {
		b := body()
		for name, value := range tc.changes {
			b[name] = value
		}
		got, err := s.Check(providertest.Input(t, b))
		if (err == nil) != tc.ok || err != nil && !fault.Is(err, fault.IllegalArgument) {
			t.Errorf("%v: %v", tc.changes, err)
		}
		if tc.changes["vapidPrivateKey"] != nil && tc.ok && got.Text("vapidPublicKey") != public {
			t.Errorf("%v: the public key is %q", tc.changes, got.Text("vapidPublicKey"))
		}
	}
}

// TestKeysAreChangedByForceOnly, since every subscription is bound to them.
func TestKeysAreChangedByForceOnly(t *testing.T) {
	r := newRig(t, nil)
	s := provider.Set{provider.WebPush: r.provider}
	other := providertest.Check(t, r.provider, body())
	in := providertest.Input(t, map[string]any{"vapidPublicKey": other.Text("vapidPublicKey"), "vapidPrivateKey": other.Secrets["vapidPrivateKey"]})
	in.Stored = &r.notifier
	if _, err := s.Check(in); !fault.Is(err, fault.IllegalArgument) || !strings.Contains(err.Error(), "force") {
		t.Errorf("other keys: %v", err)
	}
	in.Force = true
	if n, err := s.Check(in); err != nil || n.Text("vapidPublicKey") != other.Text("vapidPublicKey") {
		t.Errorf("other keys by force: %v", err)
	}
	in = providertest.Input(t, map[string]any{"subject": "mailto:other@example.test", "vapidPublicKey": r.notifier.Text("vapidPublicKey")})
	in.Stored = &r.notifier
	n, err := s.Check(in)
	if err != nil || n.Secrets["vapidPrivateKey"] != r.notifier.Secrets["vapidPrivateKey"] || n.Text("subject") != "mailto:other@example.test" {
		t.Errorf("another subject: %v, %v", n, err)
	}
}

func TestTranslateRefuses(t *testing.T) {
	r := newRig(t, nil)
	for _, payload := range []string{
		`1`, `[]`, `null`, `"` + strings.Repeat("x", 3994) + `"`, `{"_webpush":1}`, `{"_webpush":{"topic":"a b"}}`, `{"_webpush":{"topic":""}}`,
		`{"_webpush":{"topic":"` + strings.Repeat("x", 33) + `"}}`, `{"_webpush":{"urgency":"x"}}`, `{"_webpush":{"ttl":-1}}`, `{"_webpush":{"ttl":null}}`, `{"_webpush":{"x":1}}`,
	} {
		if got, err := r.provider.Translate(provider.Notifier{}, json.RawMessage(payload)); !fault.Is(err, fault.IllegalArgument) {
			t.Errorf("%.40s is taken: %v, %v", payload, got, err)
		}
	}
	for payload, want := range map[string]string{`"x"`: `{"payload":"x"}`, `{"a":1,"_webpush":{}}`: `{"a":1}`} {
		if got := string(r.payload(t, payload).Receipt()); got != want {
			t.Errorf("the receipt of %s is %s", payload, got)
		}
	}
}

// FuzzTranslate: what is taken is within a record.
func FuzzTranslate(f *testing.F) {
	for _, seed := range []string{`"x"`, `{"a":1,"_webpush":{"topic":"t","urgency":"low","ttl":5}}`, `1`} {
		f.Add([]byte(seed))
	}
	p, err := webpush.New(provider.DefaultConfig())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		got, err := p.Translate(provider.Notifier{}, payload)
		if err != nil {
			if !fault.Is(err, fault.IllegalArgument) {
				t.Fatalf("%q: %v", payload, err)
			}
			return
		}
		if body := got.Receipt(); !json.Valid(body) || !provider.IsObject(body) {
			t.Fatalf("%q becomes %q", payload, body)
		}
	})
}

// FuzzSubscription: a valid one is a token with an https endpoint, whatever the bytes.
func FuzzSubscription(f *testing.F) {
	f.Add([]byte(`{"endpoint":"https://push.example.test/1","keys":{"p256dh":"BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4","auth":"BTBZMqHH6r4Tts7J_aSIgg"}}`))
	f.Add([]byte(`"{}"`))
	f.Add([]byte(`null`))
	p, err := webpush.New(provider.DefaultConfig())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		token, ok := p.Token(value)
		if err := p.ValidToken(value); err != nil {
			if !ok || !fault.Is(err, fault.IllegalArgument) {
				t.Fatalf("%q: %v, %v", value, ok, err)
			}
			return
		}
		if ok && !strings.HasPrefix(strings.ToLower(token.Shown), "https://") {
			t.Fatalf("%q is shown as %q", value, token.Shown)
		}
	})
}
