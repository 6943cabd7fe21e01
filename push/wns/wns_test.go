package wns_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/trellisdb/trellis/push/provider"
	"github.com/trellisdb/trellis/push/providertest"
	"github.com/trellisdb/trellis/push/wns"
	"github.com/trellisdb/trellis/storage/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	sid    = "ms-app://s-1-15-2-111"
	secret = "s3cret-of-wns"
)

// rig is WNS and a provider that talks to it.
type rig struct {
	wns      *providertest.WNS
	cfg      provider.Config
	provider *wns.Provider
}

func newRig(t testing.TB, change func(*provider.Config)) *rig {
	t.Helper()
	r := &rig{wns: providertest.NewWNS(t), cfg: provider.DefaultConfig()}
	r.cfg.WNSToken, r.cfg.WNSHosts, r.cfg.RootCAs, r.cfg.AllowPrivate = r.wns.TokenURL(), []string{"127.0.0.1"}, r.wns.RootCAs(), true
	if change != nil {
		change(&r.cfg)
	}
	var err error
	if r.provider, err = wns.New(r.cfg); err != nil {
		t.Fatal(err)
	}
	r.wns.AddClient(sid, secret)
	return r
}

func body() map[string]any {
	return map[string]any{"name": "win", "provider": "windows", "sid": sid, "apiKey": secret, "logging": true}
}

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

func TestSuite(t *testing.T) {
	r := newRig(t, nil)
	providertest.Run(t, providertest.Suite{
		Open: func(t *testing.T, timeout time.Duration) (provider.Sender, provider.Payload) {
			cfg := r.cfg
			cfg.Timeout = timeout
			p, err := wns.New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			s, err := p.Open(providertest.Check(t, p, body()))
			if err != nil {
				t.Fatal(err)
			}
			return s, r.payload(t, `{"toast":"hello","badge":3}`)
		},
		Fine: func(i int) string { return r.wns.Channel(fmt.Sprint("device-", i)) },
		Transient: func() string {
			r.wns.On("flaky", providertest.Answer{Status: 503})
			return r.wns.Channel("flaky")
		},
		Hanging: func() (string, <-chan struct{}) {
			r.wns.Always("hangs", providertest.Answer{Hang: true})
			return r.wns.Channel("hangs"), r.wns.Arrived("hangs")
		},
		Echoing: func() string {
			r.wns.Always("echo", providertest.Answer{Status: 400, Echo: true})
			return r.wns.Channel("echo")
		},
		Secrets: []string{secret, "EgAcAQ"},
	})
}

// TestAnswers is the table of WNS's statuses.
func TestAnswers(t *testing.T) {
	r := newRig(t, nil)
	s, p := r.open(t, body()), r.payload(t, `"hello"`)
	const token, notifier = provider.TokenLevel, provider.NotifierLevel
	for _, tc := range []struct {
		status  int
		reason  string
		outcome provider.Outcome
		level   provider.Level
		code    string
		gone    bool
	}{
		{200, "received", provider.Sent, token, "", false},
		{200, "none", provider.Sent, token, "", false},
		{200, "dropped", provider.Failed, token, "dropped", false},
		{200, "channelthrottled", provider.Retry, token, "channelthrottled", false},
		{400, "", provider.Failed, token, "400", false},
		{401, "", provider.Blocked, notifier, "401", false},
		{403, "", provider.Failed, notifier, "403", false},
		{404, "", provider.Failed, token, "404", true},
		{405, "", provider.Failed, token, "405", false},
		{406, "", provider.Retry, token, "406", false},
		{410, "", provider.Failed, token, "410", true},
		{413, "", provider.Failed, token, "413", false},
		{500, "", provider.Retry, notifier, "500", false},
		{503, "", provider.Retry, notifier, "503", false},
		{302, "", provider.Failed, token, "302", false},
	} {
		t.Run(fmt.Sprint(tc.status, tc.reason), func(t *testing.T) {
			r.wns.Always("t1", providertest.Answer{Status: tc.status, Reason: tc.reason, Header: http.Header{"Retry-After": {"11"}}})
			got := s.Send(t.Context(), provider.Message{Token: r.wns.Channel("t1"), Payload: p})
			if got.Outcome != tc.outcome || got.Level != tc.level || got.Code != tc.code || got.Gone != tc.gone || got.ProviderID == "" {
				t.Errorf("it comes to %+v", got)
			}
			if tc.outcome == provider.Retry && got.RetryAfter != 11*time.Second {
				t.Errorf("it is to be tried after %s", got.RetryAfter)
			}
		})
	}
}

// TestTokensOfAccess are replaced once for a message.
func TestTokensOfAccess(t *testing.T) {
	r := newRig(t, nil)
	s, p := r.open(t, body()), r.payload(t, `"hello"`)
	send := func(device string) provider.Result {
		return s.Send(t.Context(), provider.Message{Token: r.wns.Channel(device), Payload: p})
	}
	send("t1")
	send("t1")
	r.wns.Revoke()
	if got := send("t1"); got.Outcome != provider.Sent || r.wns.Count(providertest.OAuth) != 2 || r.wns.Count("t1") != 4 {
		t.Fatalf("after a refusal: %+v, %d tokens, %d requests", got, r.wns.Count(providertest.OAuth), r.wns.Count("t1"))
	}
	r.wns.Always("t2", providertest.Answer{Status: 401})
	if got := send("t2"); got.Outcome != provider.Blocked || r.wns.Count("t2") != 2 {
		t.Fatalf("refused for ever: %+v, %d requests", got, r.wns.Count("t2"))
	}
	bad := body()
	bad["apiKey"] = "other"
	s = r.open(t, bad)
	if got := send("t3"); got.Outcome != provider.Blocked || got.Code != "invalid_client" || r.wns.Count("t3") != 0 {
		t.Fatalf("bad credentials: %+v", got)
	}
}

// TestParts: toast, badge, tile and raw of a payload go in that order, and what was taken
// is not sent again.
func TestParts(t *testing.T) {
	r := newRig(t, nil)
	s, p := r.open(t, body()), r.payload(t, `{"raw":"r & <","tile":"<tile><visual/></tile>","badge":"alert","toast":"a <b> & \"c\""}`)
	r.wns.On("t1", providertest.Answer{}, providertest.Answer{}, providertest.Answer{Status: 503})
	m := provider.Message{Token: r.wns.Channel("t1"), Payload: p, Expires: time.Now().Add(time.Minute + 900*time.Millisecond)}
	first := s.Send(t.Context(), m)
	if first.Outcome != provider.Retry || first.Accepted != 2 {
		t.Fatalf("the first attempt is %+v", first)
	}
	m.Accepted = first.Accepted
	if second := s.Send(t.Context(), m); second.Outcome != provider.Sent || second.Accepted != 4 {
		t.Fatalf("the second attempt is %+v", second)
	}
	var got []string
	for _, sent := range r.wns.Requests() {
		if sent.Device == "t1" {
			got = append(got, sent.Header.Get("X-WNS-Type")+" "+sent.Header.Get("X-WNS-TTL")+sent.Header.Get("X-WNS-Cache-Policy")+" "+string(sent.Body))
		}
	}
	toast := `wns/toast 60 <toast><visual><binding template="ToastText01"><text id="1">a &lt;b&gt; &amp; &#34;c&#34;</text></binding></visual></toast>`
	tile := `wns/tile 60 <tile><visual/></tile>`
	want := []string{toast, `wns/badge 60 <badge value="alert"/>`, tile, tile, `wns/raw 60cache r & <`}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("sent is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if sent := r.wns.Last("t1"); sent.Header.Get("X-WNS-RequestForStatus") != "true" {
		t.Errorf("no status is asked for: %v", sent.Header)
	}
}

func TestRawThatIsNoStringFails(t *testing.T) {
	r := newRig(t, nil)
	s := r.open(t, body())
	got := s.Send(t.Context(), provider.Message{Token: r.wns.Channel("t1"), Payload: r.payload(t, `{"toast":"x","raw":{"a":1}}`)})
	if got.Outcome != provider.Failed || got.Code != provider.CodeBadPayload || r.wns.Total() != 0 {
		t.Errorf("it comes to %+v, after %d requests", got, r.wns.Total())
	}
}

// TestForeignChannels are not posted to, whatever they look like.
func TestForeignChannels(t *testing.T) {
	r := newRig(t, func(cfg *provider.Config) { cfg.WNSHosts = []string{".notify.windows.com", "127.0.0.1"} })
	s, p := r.open(t, body()), r.payload(t, `"hello"`)
	for _, channel := range []string{
		"", "x", "https://example.test/", "https://notify.windows.com.example.test/", "https://evilnotify.windows.com/", "https://notify.windows.com/",
		strings.Replace(r.wns.Channel("t1"), "https", "http", 1), strings.Replace(r.wns.Channel("t1"), "127.0.0.1", "localhost", 1),
		strings.Replace(r.wns.Channel("t1"), "127", "user:pw@127", 1), "https://127.0.0.1/" + strings.Repeat("x", 3000),
	} {
		got := s.Send(t.Context(), provider.Message{Token: channel, Payload: p})
		if got.Outcome != provider.Failed || got.Code != provider.CodeBadToken || got.Gone {
			t.Errorf("%.60q comes to %+v", channel, got)
		}
	}
	if n := r.wns.Total(); n != 0 {
		t.Errorf("WNS has got %d requests", n)
	}
}

// TestPrivateAddresses are refused when they are dialled.
func TestPrivateAddresses(t *testing.T) {
	r := newRig(t, func(cfg *provider.Config) { cfg.AllowPrivate = false })
	s, p := r.open(t, body()), r.payload(t, `"hello"`)
	got := s.Send(t.Context(), provider.Message{Token: r.wns.Channel("t1"), Payload: p})
	if got.Outcome != provider.Failed || got.Code != provider.CodeForbidden || r.wns.Count("t1") != 0 {
		t.Errorf("it comes to %+v", got)
	}
}

func TestProbe(t *testing.T) {
	r := newRig(t, nil)
	if v := r.open(t, body()).Probe(t.Context()); v.State != provider.Verified {
		t.Errorf("good credentials: %+v", v)
	}
	bad := body()
	bad["sid"] = "ms-app://other"
	if v := r.open(t, bad).Probe(t.Context()); v.State != provider.Rejected || v.Message == "" {
		t.Errorf("bad credentials: %+v", v)
	}
	r.wns.Always(providertest.OAuth, providertest.Answer{Status: 503})
	if v := r.open(t, body()).Probe(t.Context()); v.State != provider.Untested || v.Message == "" {
		t.Errorf("a service that is not well: %+v", v)
	}
	if n := r.wns.Total(); n != r.wns.Count(providertest.OAuth) {
		t.Errorf("a probe has sent something")
	}
}

func TestEntra(t *testing.T) {
	r := newRig(t, nil)
	r.wns.AddClient("client-1", "entra-secret")
	s := r.open(t, map[string]any{"provider": "windows", "tenantId": "contoso.example", "clientId": "client-1", "clientSecret": "entra-secret"})
	if got := s.Send(t.Context(), provider.Message{Token: r.wns.Channel("t1"), Payload: r.payload(t, `"x"`)}); got.Outcome != provider.Sent {
		t.Fatalf("it comes to %+v", got)
	}
	if form := string(r.wns.Last(providertest.OAuth).Body); !strings.Contains(form, "scope=https%3A%2F%2Fwns.windows.com%2F.default") {
		t.Errorf("the form is %s", form)
	}
}

func TestCheck(t *testing.T) {
	p, err := wns.New(provider.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	s := provider.Set{provider.Windows: p}
	for _, tc := range []struct {
		body map[string]any
		says string // empty: it is right
	}{
		{map[string]any{"sid": sid, "apiKey": secret}, ""},
		{map[string]any{"sid": sid, "apiKey": secret, "logging": "false"}, ""},
		{map[string]any{"tenantId": "t", "clientId": "c", "clientSecret": "s"}, ""},
		{map[string]any{"apiKey": secret, "logging": true}, "sid"},
		{map[string]any{"sid": sid, "logging": true}, "apiKey"},
		{map[string]any{"sid": sid, "apiKey": secret, "logging": 1}, "logging"},
		{map[string]any{"tenantId": "t", "clientId": "c"}, "sid"},
		{map[string]any{"tenantId": "t/../x", "clientId": "c", "clientSecret": "s"}, "tenantId"},
		{map[string]any{"tenantId": "..", "clientId": "c", "clientSecret": "s"}, "tenantId"},
		{map[string]any{"sid": 1, "apiKey": secret}, "sid"},
	} {
		tc.body["provider"] = "windows"
		n, err := s.Check(providertest.Input(t, tc.body))
		if tc.says == "" {
			if err != nil || n.Properties["apiKey"] != nil || n.Properties["clientSecret"] != nil || len(n.Secrets) != 1 || n.Properties["logging"] == nil {
				t.Errorf("%v: %v %v, %v", tc.body, n.Properties, n.Secrets, err)
			}
			continue
		}
		if !fault.Is(err, fault.IllegalArgument) || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%v: %v, want that it names %s", tc.body, err, tc.says)
		}
	}
	n, _ := s.Check(providertest.Input(t, map[string]any{"provider": "windows", "sid": sid, "apiKey": secret}))
	in := providertest.Input(t, map[string]any{"name": "other"})
	in.Stored = &n
	if n2, err := s.Check(in); err != nil || n2.Secrets["apiKey"] != secret || n2.Text("sid") != sid {
		t.Errorf("after a change of the name: %v %v, %v", n2.Properties, n2.Secrets, err)
	}
	in = providertest.Input(t, map[string]any{"tenantId": "t", "clientId": "c", "clientSecret": "s"})
	in.Stored = &n
	if n2, err := s.Check(in); err != nil || n2.Secrets["apiKey"] != "" || n2.Text("sid") != "" || n2.Secrets["clientSecret"] != "s" {
		t.Errorf("after a change to Entra: %v %v, %v", n2.Properties, n2.Secrets, err)
	}
}

func TestTranslate(t *testing.T) {
	r := newRig(t, nil)
	for payload, want := range map[string]string{
		`"hi"`: `{"toast":"hi"}`, `{"badge": 120}`: `{"badge":120}`, `{"badge":"7"}`: `{"badge":"7"}`, `{"raw":"x"}`: `{"raw":"x"}`,
		`{"toast":"<toast launch='x'><a/></toast>"}`: `{"toast":"<toast launch='x'><a/></toast>"}`, `{"toast":"x","other":1}`: `{"toast":"x","other":1}`,
	} {
		if got := r.payload(t, payload); string(got.Receipt()) != want {
			t.Errorf("%s becomes %s", payload, got.Receipt())
		}
	}
	for _, payload := range []string{
		`1`, `[]`, `null`, `{}`, `{"other":1}`, `{"toast":null}`, `{"toast":1}`, `{"toast":"<toast>"}`, `{"toast":"<tile/>"}`, `{"toast":"<toast/><toast/>"}`,
		`{"toast":"<!DOCTYPE x><toast/>"}`, `{"badge":-1}`, `{"badge":1.5}`, `{"badge":"x"}`, `{"badge":true}`, `{"tile":"x"}`, `{"tile":1}`,
		`{"raw":"` + strings.Repeat("x", 5001) + `"}`, `"` + strings.Repeat("x", 5000) + `"`, `{"tile":"<tile>` + strings.Repeat("x", 5001) + `</tile>"}`,
	} {
		if got, err := r.provider.Translate(provider.Notifier{}, json.RawMessage(payload)); !fault.Is(err, fault.IllegalArgument) {
			t.Errorf("%.40s is taken: %v, %v", payload, got, err)
		}
	}
}

// FuzzTranslate: what is taken is an object, and each part of it within the limit.
func FuzzTranslate(f *testing.F) {
	for _, seed := range []string{`"x"`, `{"toast":"<toast/>","badge":3,"raw":"x","tile":"<tile/>"}`, `{"raw":1}`, `1`, `{"toast":"a\u0000b"}`} {
		f.Add([]byte(seed))
	}
	p, err := wns.New(provider.DefaultConfig())
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
