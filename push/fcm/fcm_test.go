package fcm_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/trellisdb/trellis/push/fcm"
	"github.com/trellisdb/trellis/push/provider"
	"github.com/trellisdb/trellis/push/providertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const email = "p@shop-1.iam.gserviceaccount.com"

// rig is FCM and a provider that talks to it.
type rig struct {
	fcm      *providertest.FCM
	cfg      provider.Config
	provider *fcm.Provider
	account  string
}

func newRig(t testing.TB, change func(*provider.Config)) *rig {
	t.Helper()
	r := &rig{fcm: providertest.NewFCM(t), cfg: provider.DefaultConfig()}
	r.cfg.FCM, r.cfg.FCMToken, r.cfg.RootCAs = r.fcm.URL(), r.fcm.TokenURL(), r.fcm.RootCAs()
	if change != nil {
		change(&r.cfg)
	}
	var err error
	if r.provider, err = fcm.New(r.cfg); err != nil {
		t.Fatal(err)
	}
	account, public := providertest.ServiceAccount(t, "shop-1", email, "https://oauth2.googleapis.com/token")
	r.account = account
	r.fcm.AddAccount("shop-1", email, public)
	return r
}

func (r *rig) body() map[string]any {
	return map[string]any{"name": "droid", "provider": "google", "serviceAccount": json.RawMessage(r.account)}
}

func (r *rig) open(t testing.TB, body map[string]any) (provider.Sender, provider.Notifier) {
	t.Helper()
	n := providertest.Check(t, r.provider, body)
	s, err := r.provider.Open(n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, n
}

func translate(t testing.TB, p provider.Provider, n provider.Notifier, text string) provider.Payload {
	t.Helper()
	out, err := p.Translate(n, json.RawMessage(text))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestSuite(t *testing.T) {
	r := newRig(t, nil)
	providertest.Run(t, providertest.Suite{
		Open: func(t *testing.T, timeout time.Duration) (provider.Sender, provider.Payload) {
			cfg := r.cfg
			cfg.Timeout = timeout
			p, err := fcm.New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			n := providertest.Check(t, p, r.body())
			s, err := p.Open(n)
			if err != nil {
				t.Fatal(err)
			}
			return s, translate(t, p, n, `"hello"`)
		},
		Fine:      func(i int) string { return fmt.Sprintf("device-%d", i) },
		Transient: func() string { r.fcm.On("flaky", providertest.Answer{Status: 503}); return "flaky" },
		Hanging: func() (string, <-chan struct{}) {
			r.fcm.Always("hangs", providertest.Answer{Hang: true})
			return "hangs", r.fcm.Arrived("hangs")
		},
		Echoing: func() string {
			r.fcm.Always("echo-device", providertest.Answer{Status: 400, Echo: true})
			return "echo-device"
		},
		Secrets: []string{"ya29.", "PRIVATE"},
	})
}

// TestAnswers is the table of FCM's codes.
func TestAnswers(t *testing.T) {
	r := newRig(t, nil)
	s, n := r.open(t, r.body())
	p := translate(t, r.provider, n, `"hello"`)
	const token, notifier = provider.TokenLevel, provider.NotifierLevel
	for _, tc := range []struct {
		status  int
		reason  string // of FCM; empty: the status only
		body    string
		outcome provider.Outcome
		level   provider.Level
		code    string
		gone    bool
		legacy  string
		backoff time.Duration
	}{
		{400, "INVALID_ARGUMENT", "", provider.Failed, token, "INVALID_ARGUMENT", false, "", 0},
		{400, "", `{"error":{"status":"INVALID_ARGUMENT","message":"x","details":[{"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[{"field":"message.token","description":"d"}]},{"@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":"INVALID_ARGUMENT"}]}}`,
			provider.Failed, token, "INVALID_ARGUMENT", true, "(InvalidRegistration)", 0},
		{400, "", `{"error":{"status":"INVALID_ARGUMENT","message":"The registration token is not a valid FCM registration token"}}`,
			provider.Failed, token, "INVALID_ARGUMENT", true, "(InvalidRegistration)", 0},
		{400, "", `{"error":{"status":"INVALID_ARGUMENT","message":"Invalid value at message.data","details":[{"fieldViolations":[{"field":"message.data"}]}]}}`,
			provider.Failed, token, "INVALID_ARGUMENT", false, "", 0},
		{401, "THIRD_PARTY_AUTH_ERROR", "", provider.Failed, notifier, "THIRD_PARTY_AUTH_ERROR", false, "", 0},
		{403, "SENDER_ID_MISMATCH", "", provider.Failed, notifier, "SENDER_ID_MISMATCH", false, "(MismatchSenderId)", 0},
		{403, "", "", provider.Blocked, notifier, "PERMISSION_DENIED", false, "", 0},
		{404, "UNREGISTERED", "", provider.Failed, token, "UNREGISTERED", true, "(NotRegistered)", 0},
		{404, "", "", provider.Failed, notifier, "NOT_FOUND", false, "", 0},
		{429, "QUOTA_EXCEEDED", "", provider.Retry, notifier, "QUOTA_EXCEEDED", false, "(DeviceMessageRateExceeded)", time.Minute},
		{500, "INTERNAL", "", provider.Retry, notifier, "INTERNAL", false, "(InternalServerError)", 10 * time.Second},
		{502, "", "<html>bad gateway</html>", provider.Retry, notifier, "UNAVAILABLE", false, "", 10 * time.Second},
		{503, "UNAVAILABLE", "", provider.Retry, notifier, "UNAVAILABLE", false, "(Unavailable)", 10 * time.Second},
		{504, "", "", provider.Retry, notifier, "UNAVAILABLE", false, "(Unavailable)", 10 * time.Second},
		{400, "UNSPECIFIED_ERROR", "", provider.Failed, token, "UNSPECIFIED_ERROR", false, "", 0},
		{500, "UNSPECIFIED_ERROR", "", provider.Failed, token, "UNSPECIFIED_ERROR", false, "", 0},
		{302, "", "<html>", provider.Failed, token, provider.CodeBadAnswer, false, "", 0},
		{200, "", "<html>", provider.Retry, notifier, provider.CodeBadAnswer, false, "", 0},
	} {
		t.Run(fmt.Sprint(tc.status, tc.reason, tc.code, tc.gone), func(t *testing.T) {
			r.fcm.On("t1", providertest.Answer{Status: tc.status, Reason: tc.reason, Body: tc.body})
			got := s.Send(t.Context(), provider.Message{Token: "t1", Payload: p})
			if got.Outcome != tc.outcome || got.Level != tc.level || got.Code != tc.code || got.Gone != tc.gone || got.Backoff != tc.backoff {
				t.Errorf("it comes to %+v", got)
			}
			if !strings.HasPrefix(got.Message, tc.legacy) || tc.legacy == "" && strings.HasPrefix(got.Message, "(") {
				t.Errorf("its message is %q", got.Message)
			}
		})
	}
}

func TestRetryAfterIsHeard(t *testing.T) {
	r := newRig(t, nil)
	s, n := r.open(t, r.body())
	p := translate(t, r.provider, n, `"hello"`)
	at := time.Now().Add(90 * time.Second).UTC().Format(http.TimeFormat)
	for header, want := range map[string]time.Duration{"30": 30 * time.Second, at: 88 * time.Second, "soon": 0, "-5": 0, "99999999999999999999": 24 * time.Hour} {
		r.fcm.On("t1", providertest.Answer{Status: 429, Reason: "QUOTA_EXCEEDED", Header: http.Header{"Retry-After": {header}}})
		got := s.Send(t.Context(), provider.Message{Token: "t1", Payload: p})
		if got.RetryAfter < want || got.RetryAfter > want+2*time.Second || !got.SlowDown {
			t.Errorf("%q comes to %+v", header, got)
		}
	}
}

// TestTokensOfAccess are fetched once, again when they are refused, and when they expire.
func TestTokensOfAccess(t *testing.T) {
	var mu sync.Mutex
	now := time.Now()
	r := newRig(t, func(cfg *provider.Config) {
		cfg.Now = func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			return now
		}
	})
	s, n := r.open(t, r.body())
	p := translate(t, r.provider, n, `"hello"`)
	send := func() provider.Result { return s.Send(t.Context(), provider.Message{Token: "t1", Payload: p}) }
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() { send() })
	}
	all.Wait()
	if n := r.fcm.Count(providertest.OAuth); n != 1 {
		t.Fatalf("50 messages fetched %d tokens", n)
	}
	r.fcm.Revoke()
	if got := send(); got.Outcome != provider.Sent || r.fcm.Count(providertest.OAuth) != 2 {
		t.Fatalf("after a refusal: %+v, %d tokens", got, r.fcm.Count(providertest.OAuth))
	}
	mu.Lock()
	now = now.Add(58 * time.Minute)
	mu.Unlock()
	if got := send(); got.Outcome != provider.Sent || r.fcm.Count(providertest.OAuth) != 2 {
		t.Fatalf("after 58 minutes: %+v, %d tokens", got, r.fcm.Count(providertest.OAuth))
	}
	mu.Lock()
	now = now.Add(time.Minute + time.Second)
	mu.Unlock()
	if got := send(); got.Outcome != provider.Sent || r.fcm.Count(providertest.OAuth) != 3 {
		t.Fatalf("after an hour: %+v, %d tokens", got, r.fcm.Count(providertest.OAuth))
	}
	r.fcm.Always("t2", providertest.Answer{Status: 401})
	got := s.Send(t.Context(), provider.Message{Token: "t2", Payload: p})
	if got.Outcome != provider.Blocked || got.Code != "UNAUTHENTICATED" || r.fcm.Count("t2") != 2 {
		t.Fatalf("refused for ever: %+v after %d requests", got, r.fcm.Count("t2"))
	}
}

// TestTokenEndpointRefuses is what an OAuth failure comes to, for all who wait for it.
func TestTokenEndpointRefuses(t *testing.T) {
	for _, tc := range []struct {
		answer  providertest.Answer
		outcome provider.Outcome
		code    string
	}{
		{providertest.Answer{Status: 400, Reason: "invalid_grant", Echo: true}, provider.Blocked, "invalid_grant"},
		{providertest.Answer{Status: 401, Reason: "invalid_client"}, provider.Blocked, "invalid_client"},
		{providertest.Answer{Status: 403, Body: "<html>"}, provider.Blocked, "invalid_client"},
		{providertest.Answer{Status: 500}, provider.Retry, provider.CodeUnreachable},
		{providertest.Answer{Status: 429, Header: http.Header{"Retry-After": {"7"}}}, provider.Retry, provider.CodeUnreachable},
		{providertest.Answer{Status: 302, Header: http.Header{"Location": {"https://example.test"}}}, provider.Retry, provider.CodeBadAnswer},
		{providertest.Answer{Status: 200, Body: `{"access_token":"a b"}`}, provider.Retry, provider.CodeBadAnswer},
	} {
		r := newRig(t, nil)
		s, n := r.open(t, r.body())
		p := translate(t, r.provider, n, `"hello"`)
		r.fcm.Always(providertest.OAuth, tc.answer)
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				got := s.Send(t.Context(), provider.Message{Token: fmt.Sprint(i), Payload: p})
				if got.Outcome != tc.outcome || got.Code != tc.code || got.Level != provider.NotifierLevel || strings.Contains(got.Message, "eyJ") {
					t.Errorf("%+v comes to %+v", tc.answer, got)
				}
			})
		}
		all.Wait()
		if n := r.fcm.Count(providertest.OAuth); n > 2 { // a slow machine may need longer than the pause
			t.Errorf("20 messages asked for a token %d times", n)
		}
	}
}

// TestBodies are what is sent of payloads, notifiers and messages.
func TestBodies(t *testing.T) {
	r := newRig(t, nil)
	asNotification := r.body()
	asNotification["stringPayloadAs"] = "notification"
	in := time.Now().Add(time.Hour + 500*time.Millisecond)
	for _, tc := range []struct {
		body    map[string]any
		payload string
		message provider.Message
		want    string
	}{
		{r.body(), `"hi"`, provider.Message{}, `{"message":{"data":{"data":"hi"},"android":{"priority":"NORMAL"},"token":"t1"}}`},
		{r.body(), `"hi"`, provider.Message{Priority: provider.PriorityHigh}, `{"message":{"data":{"data":"hi"},"android":{"priority":"HIGH"},"token":"t1"}}`},
		{r.body(), `"hi"`, provider.Message{Expires: in}, `{"message":{"data":{"data":"hi"},"android":{"priority":"NORMAL","ttl":"3600s"},"token":"t1"}}`},
		{r.body(), `"hi"`, provider.Message{Expires: in.Add(-10 * time.Hour)}, `{"message":{"data":{"data":"hi"},"android":{"priority":"NORMAL","ttl":"0s"},"token":"t1"}}`},
		{r.body(), `"hi"`, provider.Message{Expires: in.Add(10000 * time.Hour)}, `{"message":{"data":{"data":"hi"},"android":{"priority":"NORMAL","ttl":"2419200s"},"token":"t1"}}`},
		{r.body(), `{"n":3,"s":"x","o":{"a":[1]},"b":true,"z":null}`, provider.Message{},
			`{"message":{"data":{"n":"3","s":"x","o":"{\"a\":[1]}","b":"true","z":"null"},"android":{"priority":"NORMAL"},"token":"t1"}}`},
		{r.body(), `{"a":"x","time_to_live":60,"priority":"High","collapse_key":"c"}`, provider.Message{Expires: in},
			`{"message":{"data":{"a":"x"},"android":{"priority":"HIGH","ttl":"60s","collapse_key":"c"},"token":"t1"}}`},
		{r.body(), `{"message":{"notification":{"title":"x"},"token":"other","android":{"ttl":"1s"}}}`, provider.Message{},
			`{"message":{"notification":{"title":"x"},"android":{"ttl":"1s"},"token":"t1"}}`},
		{r.body(), `{"message":{},"b":1}`, provider.Message{}, `{"message":{"data":{"message":"{}","b":"1"},"android":{"priority":"NORMAL"},"token":"t1"}}`},
		{r.body(), `{"message":"x"}`, provider.Message{}, `{"message":{"data":{"message":"x"},"android":{"priority":"NORMAL"},"token":"t1"}}`},
		{asNotification, `"hi"`, provider.Message{}, `{"message":{"notification":{"body":"hi"},"android":{"priority":"NORMAL"},"token":"t1"}}`},
	} {
		t.Run(tc.payload, func(t *testing.T) {
			s, n := r.open(t, tc.body)
			m := tc.message
			m.Token, m.Payload = "t1", translate(t, r.provider, n, tc.payload)
			got := s.Send(t.Context(), m)
			if got.Outcome != provider.Sent || !strings.HasPrefix(got.ProviderID, "projects/shop-1/messages/") {
				t.Fatalf("it comes to %+v", got)
			}
			if sent := string(r.fcm.Last("t1").Body); sent != tc.want {
				t.Errorf("sent is\n%s, want\n%s", sent, tc.want)
			}
		})
	}
}

func TestProbe(t *testing.T) {
	r := newRig(t, nil)
	s, _ := r.open(t, r.body())
	if v := s.Probe(t.Context()); v.State != provider.Verified {
		t.Errorf("good credentials: %+v", v)
	}
	if sent := string(r.fcm.Last("trellis-probe").Body); !strings.Contains(sent, `"validate_only":true`) {
		t.Errorf("the probe is %s", sent)
	}
	for _, tc := range []struct {
		device string
		answer providertest.Answer
		want   provider.State
	}{
		{"trellis-probe", providertest.Answer{Status: 403}, provider.Rejected},
		{"trellis-probe", providertest.Answer{Status: 401}, provider.Rejected},
		{"trellis-probe", providertest.Answer{Status: 404, Reason: "UNREGISTERED"}, provider.Verified},
		{"trellis-probe", providertest.Answer{Status: 503}, provider.Untested},
		{providertest.OAuth, providertest.Answer{Status: 400, Reason: "invalid_grant"}, provider.Rejected},
		{providertest.OAuth, providertest.Answer{Status: 500}, provider.Untested},
	} {
		r := newRig(t, nil)
		s, _ := r.open(t, r.body())
		r.fcm.Always(tc.device, tc.answer)
		if v := s.Probe(t.Context()); v.State != tc.want || v.Code == "" && tc.want != provider.Verified {
			t.Errorf("%s %+v: %+v", tc.device, tc.answer, v)
		}
	}
	_, public := providertest.ServiceAccount(t, "shop-1", email, "")
	r.fcm.AddAccount("other-project", email, public)
	s, _ = r.open(t, r.body())
	if v := s.Probe(t.Context()); v.State != provider.Rejected || v.Code != "PERMISSION_DENIED" {
		t.Errorf("another project's account: %+v", v)
	}
}

// TestTokenEndpointIsGuarded: without an endpoint of the operator's the account's own is
// asked, which is Google's, and never one on this machine.
func TestTokenEndpointIsGuarded(t *testing.T) {
	r := newRig(t, func(cfg *provider.Config) { cfg.FCMToken = "" })
	for uri, ok := range map[string]bool{
		"": true, "https://oauth2.googleapis.com/token": true, "https://accounts.google.com/o/oauth2/token": true,
		"http://oauth2.googleapis.com/token": false, r.fcm.TokenURL(): false, "https://googleapis.com.example.test/token": false,
		"https://evilgoogleapis.com/": false, "https://user@oauth2.googleapis.com/token": false, "https://169.254.169.254/token": false,
	} {
		account, _ := providertest.ServiceAccount(t, "shop-1", email, uri)
		_, err := provider.Set{provider.Google: r.provider}.Check(providertest.Input(t, map[string]any{"provider": "google", "serviceAccount": account}))
		if (err == nil) != ok {
			t.Errorf("token_uri %q: %v", uri, err)
		}
	}
}
