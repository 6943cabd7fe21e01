package apns_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/trellisdb/trellis/push/apns"
	"github.com/trellisdb/trellis/push/provider"
	"github.com/trellisdb/trellis/push/providertest"
	"github.com/trellisdb/trellis/storage/entity"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	team   = "TEAM123456"
	keyID  = "ABC123DEFG"
	bundle = "test.example.shop"
)

// rig is APNs and a provider that talks to it.
type rig struct {
	apns     *providertest.APNs
	cfg      provider.Config
	provider *apns.Provider
	key      string
}

func newRig(t testing.TB, change func(*provider.Config)) *rig {
	t.Helper()
	r := &rig{apns: providertest.NewAPNs(t), cfg: provider.DefaultConfig()}
	r.cfg.APNSProduction, r.cfg.APNSDevelopment, r.cfg.RootCAs = r.apns.URL(), "https://127.0.0.1:1", r.apns.RootCAs()
	if change != nil {
		change(&r.cfg)
	}
	var err error
	if r.provider, err = apns.New(r.cfg); err != nil {
		t.Fatal(err)
	}
	text, public := providertest.AuthKey(t)
	r.key = text
	r.apns.AddKey(team, keyID, public)
	return r
}

func (r *rig) body() map[string]any {
	return map[string]any{
		"name": "ios", "provider": "apple", "environment": "production",
		"authKey": r.key, "keyId": keyID, "teamId": team, "bundleId": bundle,
	}
}

// open opens a sender for a body; the test closes it.
func (r *rig) open(t testing.TB, body map[string]any) provider.Sender {
	t.Helper()
	s, err := r.provider.Open(providertest.Check(t, r.provider, body))
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

func token(i int) string { return fmt.Sprintf("%064x", i+1) }

func TestSuite(t *testing.T) {
	r := newRig(t, nil)
	s := providertest.Suite{
		Open: func(t *testing.T, timeout time.Duration) (provider.Sender, provider.Payload) {
			cfg := r.cfg
			cfg.Timeout = timeout
			p, err := apns.New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			s, err := p.Open(providertest.Check(t, p, r.body()))
			if err != nil {
				t.Fatal(err)
			}
			return s, r.payload(t, `"hello"`)
		},
		Fine: token,
		Transient: func() string {
			r.apns.On("aa", providertest.Answer{Status: 503, Reason: "ServiceUnavailable"})
			return "aa"
		},
		Hanging: func() (string, <-chan struct{}) {
			r.apns.Always("bb", providertest.Answer{Hang: true})
			return "bb", r.apns.Arrived("bb")
		},
		Echoing: func() string { r.apns.Always("cccc", providertest.Answer{Status: 400, Echo: true}); return "cccc" },
		Secrets: []string{"bearer", "eyJ"},
	}
	providertest.Run(t, s)
}

func TestMockSuite(t *testing.T) {
	r := newRig(t, nil)
	body := r.body()
	body["environment"] = "mock"
	arrived := make(chan struct{})
	close(arrived)
	providertest.Run(t, providertest.Suite{
		Open: func(t *testing.T, _ time.Duration) (provider.Sender, provider.Payload) {
			s, err := r.provider.Open(providertest.Check(t, r.provider, body))
			if err != nil {
				t.Fatal(err)
			}
			return s, r.payload(t, `"hello"`)
		},
		Fine:      token,
		Transient: func() string { return "retry:1" },
		Hanging:   func() (string, <-chan struct{}) { return "slow:60000", arrived },
	})
	if n := r.apns.Total(); n != 0 {
		t.Errorf("APNs has got %d messages of a mocked notifier", n)
	}
}

// TestAnswers is the table of Apple's reasons.
func TestAnswers(t *testing.T) {
	r := newRig(t, nil)
	s, p := r.open(t, r.body()), r.payload(t, `"hello"`)
	since := time.UnixMilli(1700000000000)
	for _, tc := range []struct {
		status  int
		reason  string
		outcome provider.Outcome
		level   provider.Level
		gone    bool
		slow    bool
	}{
		{400, "BadDeviceToken", provider.Failed, provider.TokenLevel, false, false},
		{400, "DeviceTokenNotForTopic", provider.Failed, provider.TokenLevel, false, false},
		{400, "BadTopic", provider.Failed, provider.NotifierLevel, false, false},
		{400, "MissingTopic", provider.Failed, provider.NotifierLevel, false, false},
		{400, "TopicDisallowed", provider.Failed, provider.NotifierLevel, false, false},
		{400, "InvalidPushType", provider.Failed, provider.TokenLevel, false, false},
		{400, "BadPriority", provider.Failed, provider.TokenLevel, false, false},
		{400, "BadExpirationDate", provider.Failed, provider.TokenLevel, false, false},
		{400, "BadCollapseId", provider.Failed, provider.TokenLevel, false, false},
		{400, "BadMessageId", provider.Failed, provider.TokenLevel, false, false},
		{400, "PayloadEmpty", provider.Failed, provider.TokenLevel, false, false},
		{400, "DuplicateHeaders", provider.Failed, provider.TokenLevel, false, false},
		{400, "MissingDeviceToken", provider.Failed, provider.TokenLevel, false, false},
		{400, "IdleTimeout", provider.Retry, provider.NotifierLevel, false, false},
		{403, "BadCertificate", provider.Blocked, provider.NotifierLevel, false, false},
		{403, "BadCertificateEnvironment", provider.Blocked, provider.NotifierLevel, false, false},
		{403, "Forbidden", provider.Blocked, provider.NotifierLevel, false, false},
		{403, "InvalidProviderToken", provider.Blocked, provider.NotifierLevel, false, false},
		{403, "MissingProviderToken", provider.Blocked, provider.NotifierLevel, false, false},
		{403, "UnrelatedKeyIdInToken", provider.Blocked, provider.NotifierLevel, false, false},
		{403, "BadEnvironmentKeyIdInToken", provider.Blocked, provider.NotifierLevel, false, false},
		{404, "BadPath", provider.Failed, provider.TokenLevel, false, false},
		{405, "MethodNotAllowed", provider.Failed, provider.TokenLevel, false, false},
		{410, "Unregistered", provider.Failed, provider.TokenLevel, true, false},
		{410, "ExpiredToken", provider.Failed, provider.TokenLevel, true, false},
		{413, "PayloadTooLarge", provider.Failed, provider.TokenLevel, false, false},
		{429, "TooManyRequests", provider.Retry, provider.TokenLevel, false, false},
		{429, "TooManyProviderTokenUpdates", provider.Retry, provider.NotifierLevel, false, true},
		{500, "InternalServerError", provider.Retry, provider.NotifierLevel, false, false},
		{503, "ServiceUnavailable", provider.Retry, provider.NotifierLevel, false, false},
		{503, "Shutdown", provider.Retry, provider.NotifierLevel, false, false},
		{400, "SomethingNew", provider.Failed, provider.TokenLevel, false, false},
		{403, "SomethingNew", provider.Blocked, provider.NotifierLevel, false, false},
		{599, "SomethingNew", provider.Retry, provider.NotifierLevel, false, false},
	} {
		t.Run(fmt.Sprint(tc.status, tc.reason), func(t *testing.T) {
			r.apns.On("ab12", providertest.Answer{Status: tc.status, Reason: tc.reason, Timestamp: since.UnixMilli()})
			got := s.Send(t.Context(), provider.Message{Token: "ab12", Payload: p, ID: entity.NewID()})
			if got.Outcome != tc.outcome || got.Level != tc.level || got.Code != tc.reason || got.Gone != tc.gone || got.SlowDown != tc.slow {
				t.Errorf("it comes to %+v", got)
			}
			if got.Message != fmt.Sprintf("%d from APNs", tc.status) {
				t.Errorf("its message is %q", got.Message)
			}
			if tc.gone && !got.GoneSince.Equal(since) {
				t.Errorf("the token is dead since %s", got.GoneSince)
			}
		})
	}
}

// TestAnswersThatAreNotApples are those of something on the way.
func TestAnswersThatAreNotApples(t *testing.T) {
	r := newRig(t, nil)
	s, p := r.open(t, r.body()), r.payload(t, `"hello"`)
	for status, want := range map[int]provider.Outcome{
		302: provider.Failed, 400: provider.Failed, 403: provider.Blocked, 429: provider.Retry, 502: provider.Retry,
	} {
		r.apns.On("ab12", providertest.Answer{Status: status, Body: "<html>" + strings.Repeat("x", 100_000), Header: map[string][]string{"Location": {"https://example.test/"}}})
		got := s.Send(t.Context(), provider.Message{Token: "ab12", Payload: p})
		if got.Outcome != want || got.Code != fmt.Sprint(status) {
			t.Errorf("%d comes to %+v", status, got)
		}
	}
}

func TestRetryAfterIsHeard(t *testing.T) {
	r := newRig(t, nil)
	s, p := r.open(t, r.body()), r.payload(t, `"hello"`)
	r.apns.On("ab12", providertest.Answer{Status: 429, Reason: "TooManyRequests", Header: map[string][]string{"Retry-After": {"17"}}})
	if got := s.Send(t.Context(), provider.Message{Token: "ab12", Payload: p}); got.RetryAfter != 17*time.Second {
		t.Errorf("it comes to %+v", got)
	}
}

// TestHeaders is the table of headers, as APNs sees them.
func TestHeaders(t *testing.T) {
	r := newRig(t, nil)
	s := r.open(t, r.body())
	expires := time.Unix(1900000000, 0)
	id, _ := entity.ParseID("0c1a3d5e-7b9f-5a1c-8e3d-5f7a9b1c3d5e")
	for _, tc := range []struct {
		payload string
		message provider.Message
		want    map[string]string
	}{
		{`"hi"`, provider.Message{}, map[string]string{"topic": bundle, "push-type": "alert", "priority": "", "expiration": "0"}},
		{`"hi"`, provider.Message{Priority: provider.PriorityHigh}, map[string]string{"priority": "10"}},
		{`"hi"`, provider.Message{Priority: provider.PriorityNormal}, map[string]string{"priority": "5"}},
		{`"hi"`, provider.Message{Expires: expires}, map[string]string{"expiration": "1900000000"}},
		{`"hi"`, provider.Message{ID: id}, map[string]string{"id": id.String()}},
		{`{"aps":{"content-available":1}}`, provider.Message{Priority: provider.PriorityHigh}, map[string]string{"push-type": "background", "priority": "5"}},
		{`{"aps":{"content-available":1,"alert":"x"}}`, provider.Message{}, map[string]string{"push-type": "alert", "priority": ""}},
		{`{"aps":{"content-available":1,"badge":0}}`, provider.Message{}, map[string]string{"push-type": "alert"}},
		{`{"aps":{"content-available":1,"sound":"x"}}`, provider.Message{}, map[string]string{"push-type": "alert"}},
		{`{"aps":{},"_apns":{"push-type":"voip"}}`, provider.Message{}, map[string]string{"push-type": "voip", "topic": bundle + ".voip"}},
		{`{"aps":{},"_apns":{"push-type":"complication"}}`, provider.Message{}, map[string]string{"topic": bundle + ".complication"}},
		{`{"aps":{},"_apns":{"push-type":"liveactivity"}}`, provider.Message{}, map[string]string{"topic": bundle + ".push-type.liveactivity"}},
		{`{"aps":{},"_apns":{"push-type":"location"}}`, provider.Message{}, map[string]string{"topic": bundle + ".location-query"}},
		{`{"aps":{},"_apns":{"push-type":"fileprovider"}}`, provider.Message{}, map[string]string{"topic": bundle + ".pushkit.fileprovider"}},
		{`{"aps":{},"_apns":{"push-type":"pushtotalk"}}`, provider.Message{}, map[string]string{"topic": bundle + ".voip-ptt"}},
		{`{"aps":{},"_apns":{"push-type":"mdm"}}`, provider.Message{}, map[string]string{"topic": bundle}},
		{`{"aps":{},"_apns":{"priority":1}}`, provider.Message{Priority: provider.PriorityHigh}, map[string]string{"priority": "1"}},
		{`{"aps":{},"_apns":{"collapse-id":"scores","topic":"other.topic","id":"0c1a3d5e-7b9f-5a1c-8e3d-5f7a9b1c3d5e"}}`, provider.Message{ID: entity.NewID()},
			map[string]string{"collapse-id": "scores", "topic": "other.topic", "id": id.String()}},
	} {
		t.Run(tc.payload, func(t *testing.T) {
			m := tc.message
			m.Token, m.Payload = "<AB12 cd34>", r.payload(t, tc.payload)
			got := s.Send(t.Context(), m)
			if got.Outcome != provider.Sent {
				t.Fatalf("it comes to %+v", got)
			}
			sent := r.apns.Last("ab12cd34")
			for name, want := range tc.want {
				if v := sent.Header.Get("apns-" + name); v != want {
					t.Errorf("apns-%s is %q, want %q", name, v, want)
				}
			}
			if want := sent.Header.Get("apns-id"); want != "" && got.ProviderID != want || got.ProviderID == "" {
				t.Errorf("the id is %q, want that of the answer", got.ProviderID)
			}
		})
	}
}

// TestOneTokenForManySends also holds for notifiers that share a key.
func TestOneTokenForManySends(t *testing.T) {
	r := newRig(t, nil)
	s, p := r.open(t, r.body()), r.payload(t, `"hello"`)
	other := r.body()
	other["name"], other["bundleId"] = "ios2", "test.example.other"
	s2 := r.open(t, other)
	for i := range 100 {
		for _, s := range []provider.Sender{s, s2} {
			if got := s.Send(t.Context(), provider.Message{Token: token(i), Payload: p}); got.Outcome != provider.Sent {
				t.Fatalf("message %d: %+v", i, got)
			}
		}
	}
	if n := r.apns.Tokens(); n != 1 {
		t.Errorf("APNs has seen %d tokens, want 1", n)
	}
	if n := r.apns.Connections(); n != 2 {
		t.Errorf("APNs has seen %d connections of two senders", n)
	}
	s.Close()
	s2.Close()
	if got := r.open(t, r.body()).Send(t.Context(), provider.Message{Token: token(0), Payload: p}); got.Outcome != provider.Sent || r.apns.Tokens() != 1 {
		t.Errorf("opened again: %+v, by token %d", got, r.apns.Tokens())
	}
}

// clock is one that a test sets.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// TestTokensAreSignedAnew before Apple finds them expired, and no more often than that.
func TestTokensAreSignedAnew(t *testing.T) {
	c := &clock{now: time.Now()}
	r := newRig(t, func(cfg *provider.Config) { cfg.Now = c.Now })
	r.apns.SetClock(c.Now)
	s, p := r.open(t, r.body()), r.payload(t, `"hello"`)
	for minute, want := range []int{0: 1, 1: 1, 49: 1, 50: 2, 99: 2, 100: 3} {
		if want != 0 {
			got := s.Send(t.Context(), provider.Message{Token: "ab12", Payload: p})
			if got.Outcome != provider.Sent || r.apns.Tokens() != want {
				t.Errorf("after %d minutes: %+v, by token %d, want %d", minute, got, r.apns.Tokens(), want)
			}
		}
		c.add(time.Minute)
	}
}

// TestExpiredTokenIsSignedOnce: Apple's clock is ahead of ours.
func TestExpiredTokenIsSignedOnce(t *testing.T) {
	c := &clock{now: time.Now()}
	r := newRig(t, func(cfg *provider.Config) { cfg.Now = c.Now })
	s, p := r.open(t, r.body()), r.payload(t, `"hello"`)
	send := func() provider.Result {
		return s.Send(t.Context(), provider.Message{Token: "ab12", Payload: p})
	}
	send()
	c.add(time.Second) // or the second token would be the first
	r.apns.On("ab12", providertest.Answer{Status: 403, Reason: "ExpiredProviderToken"})
	if got := send(); got.Outcome != provider.Sent || r.apns.Tokens() != 2 || r.apns.Count("ab12") != 3 {
		t.Fatalf("after one refusal: %+v by token %d", got, r.apns.Tokens())
	}
	r.apns.Always("ab12", providertest.Answer{Status: 403, Reason: "ExpiredProviderToken"})
	if got := send(); got.Outcome != provider.Blocked || got.Code != "ExpiredProviderToken" || r.apns.Count("ab12") != 4 {
		t.Fatalf("after another: %+v, %d requests", got, r.apns.Count("ab12"))
	}
	c.add(21 * time.Minute)
	if got := send(); got.Outcome != provider.Blocked || r.apns.Count("ab12") != 6 {
		t.Fatalf("after 21 minutes: %+v, %d requests, want that it has tried two tokens", got, r.apns.Count("ab12"))
	}
}

// TestGoAwayLosesNothing: connections come and go below many messages.
func TestGoAwayLosesNothing(t *testing.T) {
	r := newRig(t, nil)
	s, p := r.open(t, r.body()), r.payload(t, `"hello"`)
	for i := range 200 {
		if i%40 == 20 {
			r.apns.On(token(i), providertest.Answer{GoAway: true})
		}
	}
	var all sync.WaitGroup
	failed := make(chan provider.Result, 200)
	for worker := range 4 {
		all.Go(func() {
			for i := worker; i < 200; i += 4 {
				if got := s.Send(t.Context(), provider.Message{Token: token(i), Payload: p}); got.Outcome != provider.Sent {
					failed <- got
				}
			}
		})
	}
	all.Wait()
	close(failed)
	for got := range failed {
		t.Errorf("a message is %+v", got)
	}
	if n := r.apns.Connections(); n < 2 || n > 6 {
		t.Errorf("there were %d connections, want one more for each of 5 GOAWAYs", n)
	}
	if n := r.apns.Total(); n != 200 {
		t.Errorf("APNs has got %d messages, want 200", n)
	}
}

// TestIdleTimeoutBeginsAnotherConnection as Apple's table has it.
func TestIdleTimeoutBeginsAnotherConnection(t *testing.T) {
	r := newRig(t, nil)
	s, p := r.open(t, r.body()), r.payload(t, `"hello"`)
	r.apns.On("ab12", providertest.Answer{Status: 400, Reason: "IdleTimeout"})
	first := s.Send(t.Context(), provider.Message{Token: "ab12", Payload: p})
	second := s.Send(t.Context(), provider.Message{Token: "ab12", Payload: p})
	if first.Outcome != provider.Retry || second.Outcome != provider.Sent || r.apns.Connections() != 2 {
		t.Errorf("%+v, then %+v, over %d connections", first, second, r.apns.Connections())
	}
}

// TestManyAtOnceShareAConnection, the first ones too.
func TestManyAtOnceShareAConnection(t *testing.T) {
	r := newRig(t, nil)
	s, p := r.open(t, r.body()), r.payload(t, `"hello"`)
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() { s.Send(t.Context(), provider.Message{Token: token(i), Payload: p}) })
	}
	all.Wait()
	if n := r.apns.Connections(); n != 1 {
		t.Errorf("there were %d connections", n)
	}
}

func TestCutConnectionIsTriedAgain(t *testing.T) {
	r := newRig(t, nil)
	s, p := r.open(t, r.body()), r.payload(t, `"hello"`)
	r.apns.On("ab12", providertest.Answer{Cut: true})
	got := s.Send(t.Context(), provider.Message{Token: "ab12", Payload: p})
	if got.Outcome != provider.Retry || got.Code != provider.CodeUnreachable {
		t.Errorf("it comes to %+v", got)
	}
}

func TestBadTokensAreNotSent(t *testing.T) {
	r := newRig(t, nil)
	s, p := r.open(t, r.body()), r.payload(t, `"hello"`)
	for _, bad := range []string{"", "../../x", "xyz", "ab12/../..", strings.Repeat("a", 1000), "ab 12\r\nx"} {
		if got := s.Send(t.Context(), provider.Message{Token: bad, Payload: p}); got.Outcome != provider.Failed || got.Code != "BadDeviceToken" || got.Gone {
			t.Errorf("%q comes to %+v", bad, got)
		}
	}
	if n := r.apns.Total(); n != 0 {
		t.Errorf("APNs has got %d messages", n)
	}
}

func TestBadTokensAreDeadIfConfigured(t *testing.T) {
	r := newRig(t, func(cfg *provider.Config) { cfg.APNSClearBadTokens = true })
	s, p := r.open(t, r.body()), r.payload(t, `"hello"`)
	for _, bad := range []string{"xyz", strings.Repeat("0", 64)} {
		if got := s.Send(t.Context(), provider.Message{Token: bad, Payload: p}); !got.Gone {
			t.Errorf("%q comes to %+v", bad, got)
		}
	}
}

func TestCertificateAuthorizes(t *testing.T) {
	r := newRig(t, nil)
	file, leaf := providertest.P12(t, providertest.Certificate{UserID: bundle, Password: "pw"})
	r.apns.AddCertificate(leaf)
	body := map[string]any{"provider": "apple", "environment": "production", "p12Certificate": file, "certificatePassword": "pw"}
	s := r.open(t, body)
	if got := s.Send(t.Context(), provider.Message{Token: "ab12", Payload: r.payload(t, `"hello"`)}); got.Outcome != provider.Sent {
		t.Fatalf("it comes to %+v", got)
	}
	if sent := r.apns.Last("ab12"); sent.Header.Get("Authorization") != "" || sent.Header.Get("apns-topic") != bundle {
		t.Errorf("the headers are %v", sent.Header)
	}
	other, _ := providertest.P12(t, providertest.Certificate{UserID: bundle})
	s = r.open(t, map[string]any{"provider": "apple", "environment": "production", "p12Certificate": other})
	if got := s.Send(t.Context(), provider.Message{Token: "ab12", Payload: r.payload(t, `"hello"`)}); got.Outcome != provider.Blocked || got.Code != "BadCertificate" {
		t.Errorf("an unknown certificate comes to %+v", got)
	}
}

func TestEnvironmentChoosesTheHost(t *testing.T) {
	r := newRig(t, nil)
	body := r.body()
	body["environment"] = "Development"
	s := r.open(t, body)
	got := s.Send(t.Context(), provider.Message{Token: "ab12", Payload: r.payload(t, `"hello"`)})
	if got.Outcome != provider.Retry || got.Code != provider.CodeUnreachable || got.Level != provider.NotifierLevel {
		t.Errorf("a service that is not there yields %+v", got)
	}
}

func TestProbe(t *testing.T) {
	r := newRig(t, nil)
	if v := r.open(t, r.body()).Probe(t.Context()); v.State != provider.Verified {
		t.Errorf("good credentials: %+v", v)
	}
	body := r.body()
	body["keyId"] = "OTHERKEY00"
	if v := r.open(t, body).Probe(t.Context()); v.State != provider.Rejected || v.Code != "InvalidProviderToken" || v.Message == "" {
		t.Errorf("bad credentials: %+v", v)
	}
	body = r.body()
	body["environment"] = "development" // where nobody listens
	if v := r.open(t, body).Probe(t.Context()); v.State != provider.Untested || v.Message == "" {
		t.Errorf("an unreachable service: %+v", v)
	}
	body["environment"] = "mock"
	if v := r.open(t, body).Probe(t.Context()); v != (provider.Verdict{}) {
		t.Errorf("mock: %+v", v)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if v := r.open(t, r.body()).Probe(ctx); v.State != provider.Untested {
		t.Errorf("a caller that has left: %+v", v)
	}
}
