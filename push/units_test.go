package push

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/trellisdb/trellis/push/noop"
	"github.com/trellisdb/trellis/push/provider"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

func TestAgain(t *testing.T) {
	now := time.UnixMilli(1_000_000_000)
	second := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	for _, tc := range []struct {
		name    string
		result  provider.Result
		attempt int
		age     time.Duration
		expires time.Duration // from now on; 0: never
		jitter  float64
		want    time.Duration // 0: no more
	}{
		{"first", provider.Result{}, 1, 0, 0, 0.5, second(1)},
		{"doubles", provider.Result{}, 4, 0, 0, 0.5, second(8)},
		{"a fifth less", provider.Result{}, 1, 0, 0, 0, second(0.8)},
		{"a fifth more", provider.Result{}, 1, 0, 0, 1, second(1.2)},
		{"last attempt", provider.Result{}, 5, 0, 0, 0.5, 0},
		{"base of the service", provider.Result{Backoff: second(60)}, 2, 0, 0, 0.5, second(120)},
		{"cap", provider.Result{Backoff: second(60)}, 4, 0, 0, 0.5, second(300)},
		{"told when", provider.Result{RetryAfter: second(30)}, 1, 0, 0, 0.5, second(30)},
		{"never before told", provider.Result{RetryAfter: second(30)}, 1, 0, 0, 0, second(30)},
		{"told later than the cap", provider.Result{RetryAfter: second(1200)}, 1, 0, 0, 0.5, second(1200)},
		{"within an hour", provider.Result{}, 1, time.Hour - second(2), 0, 0.5, second(1)},
		{"after an hour", provider.Result{}, 1, time.Hour - second(0.5), 0, 0.5, 0},
		{"before it expires", provider.Result{}, 1, 0, second(1.1), 0.5, second(1)},
		{"after it expires", provider.Result{}, 1, 0, second(1), 0.5, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var expires time.Time
			if tc.expires != 0 {
				expires = now.Add(tc.expires)
			}
			at, again := again(tc.result, tc.attempt, DefaultConfig().RetryCap, now, now.Add(-tc.age), expires, tc.jitter)
			if again != (tc.want != 0) || again && at.Sub(now) != tc.want {
				t.Errorf("again %t after %s, want %s", again, at.Sub(now), tc.want)
			}
		})
	}
}

func TestBreaker(t *testing.T) {
	pause := DefaultConfig().Pause
	var b breaker
	now := time.UnixMilli(1_000_000_000)
	why := provider.Block("x", "y")
	if b.paused(now) || b.trying() {
		t.Error("a new one is not closed")
	}
	for i := range maxPauses {
		for range 2 { // many were in flight
			if b.refused(now, pause, why) {
				t.Errorf("gives up before pause %d", i+1)
			}
		}
		if !b.paused(now.Add(pause-1)) || b.paused(now.Add(pause)) || !b.trying() {
			t.Errorf("pause %d: %+v", i+1, b)
		}
		now = now.Add(pause)
	}
	for range 2 {
		if !b.refused(now, pause, why) {
			t.Error("does not give up after its pauses")
		}
	}
	if b.accepted(); b.trying() || b.refused(now, pause, why) {
		t.Error("does not begin anew")
	}
}

func TestProgressIsReadAsWritten(t *testing.T) {
	id := entity.NewID()
	fresh, err := decodeProgress(id[:])
	if err != nil || !reflect.DeepEqual(fresh, progress{notification: id}) {
		t.Errorf("%+v, %v", fresh, err)
	}
	p := progress{notification: id, phase: phaseResolve, number: 300, waits: 7, cursor: 1 << 40, rest: []byte("where")}
	raw := p.append(nil)
	if got, err := decodeProgress(raw); err != nil || !reflect.DeepEqual(got, p) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range [][]byte{nil, id[:15], raw[:17], raw[:19], append(bytes.Clone(id[:]), 2, 0, 0, 0, 0), append(bytes.Clone(id[:]), 1, 9, 0, 0, 0)} {
		if _, err := decodeProgress(bad); !fault.Is(err, fault.Corrupt) {
			t.Errorf("%x: %v", bad, err)
		}
	}
}

func TestCodesThatAreCountedAreBounded(t *testing.T) {
	var f figures
	f.init()
	for i := range 1000 {
		f.failed("p", fmt.Sprint(i))
	}
	if got := f.of["p"].Failed; len(got) != maxCodes+1 || got["other"] != 1000-maxCodes {
		t.Errorf("%d codes, %d other", len(got), got["other"])
	}
}

func TestMessagesKeepTheirID(t *testing.T) {
	a, b := entity.NewID(), entity.NewID()
	first := MessageID(a, b)
	if first != MessageID(a, b) || first == MessageID(b, a) || first == MessageID(a, a) {
		t.Error("ids of messages do not tell messages apart")
	}
}

// tested is a provider whose probe finds something out.
type tested struct {
	noop.Provider
	verdict provider.Verdict
}

type testedSender struct {
	provider.Sender
	verdict provider.Verdict
}

func (p tested) Open(n provider.Notifier) (provider.Sender, error) {
	s, err := p.Provider.Open(n)
	return testedSender{s, p.verdict}, err
}

func (s testedSender) Probe(context.Context) provider.Verdict { return s.verdict }

func TestCredentialsOfNotifiersAreTested(t *testing.T) {
	w := newWorld(t)
	defer w.Close()
	for _, tc := range []struct {
		verify Verify
		state  provider.State
		want   string // members of the notifier, or the code of a fault
	}{
		{VerifyWarn, provider.Untested, `{"name":"n","provider":"fake"}`},
		{VerifyWarn, provider.Verified, `{"name":"n","provider":"fake","verified":true}`},
		{VerifyWarn, provider.Rejected, `{"name":"n","provider":"fake","verified":false,"verifyMessage":"no"}`},
		{VerifyWarn, provider.Unsupported, `{"name":"n","provider":"fake","verified":false,"verifyMessage":"no"}`},
		{VerifyStrict, provider.Verified, `{"name":"n","provider":"fake","verified":true}`},
		{VerifyStrict, provider.Unsupported, `{"name":"n","provider":"fake","verified":false,"verifyMessage":"no"}`},
		{VerifyStrict, provider.Rejected, `connection`},
		{VerifyOff, provider.Rejected, `{"name":"n","provider":"fake"}`},
	} {
		n := w.start(provider.Set{"fake": tested{verdict: provider.Verdict{State: tc.state, Message: "no"}}}, func(c *Config) { c.Verify = tc.verify })
		properties, _, err := n.engine.CheckNotifier(t.Context(), provider.Input{Members: map[string]json.RawMessage{"name": []byte(`"n"`), "provider": []byte(`"FAKE"`)}})
		got := string(properties)
		if err != nil {
			got = string(fault.CodeOf(err))
		}
		if got != tc.want {
			t.Errorf("%s, %d: %s, want %s", tc.verify, tc.state, got, tc.want)
		}
		n.stop()
	}
}

func TestConfigurationIsChecked(t *testing.T) {
	for _, change := range []func(*Config){
		func(c *Config) { c.Providers = nil },
		func(c *Config) { c.Verify = "perhaps" },
		func(c *Config) { c.NodeInFlight = 0 },
		func(c *Config) { c.Page = maxPage + 1 },
		func(c *Config) { c.Gather = 0 },
		func(c *Config) { c.InFlight = map[string]int{"apple": -1} },
	} {
		cfg := DefaultConfig()
		cfg.Providers = provider.Set{provider.Noop: noop.Provider{}}
		change(&cfg)
		if e, err := Start(cfg, nil, nil, nil, slog.New(slog.DiscardHandler)); err == nil || !strings.HasPrefix(err.Error(), "push: ") {
			t.Errorf("accepted: %+v, %v", cfg, err)
			e.Close()
		}
	}
}

// TestStoredSecretsStaySecret: what is printed of a notifier names them only.
func TestStoredSecretsStaySecret(t *testing.T) {
	n, err := Stored([]byte(`{"provider":"google"}`), []byte(`{"apiKey":"hush"}`))
	if err != nil || n.Secrets["apiKey"] != "hush" || strings.Contains(fmt.Sprintf("%+v", *n), "hush") {
		t.Errorf("%+v, %v", n, err)
	}
	for _, bad := range [][2]string{{`[`, ``}, {`{}`, `{"a":1}`}} {
		if _, err := Stored([]byte(bad[0]), []byte(bad[1])); err == nil || strings.Contains(err.Error(), "1") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
