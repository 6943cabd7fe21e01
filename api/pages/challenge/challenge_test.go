package challenge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/trellisdb/trellis/api/auth"
	"github.com/trellisdb/trellis/storage/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is a clock that the test sets.
type clock struct{ ms atomic.Int64 }

func (c *clock) now() time.Time { return time.UnixMilli(c.ms.Load()) }

func testConfig(c *clock) Config {
	c.ms.Store(1_700_000_000_000)
	cfg := DefaultConfig(auth.DeriveKey([32]byte{1}, "pages"))
	cfg.Now = c.now
	return cfg
}

func newArithmetic(t testing.TB, cfg Config) *Arithmetic {
	t.Helper()
	a, err := NewArithmetic(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func newWork(t testing.TB, cfg Config, bits int) *Work {
	t.Helper()
	w, err := NewWork(cfg, bits)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// reckon answers a question as a person does who reads it.
func reckon(t testing.TB, prompt string) string {
	t.Helper()
	var x, y int
	var op string
	if _, err := fmt.Sscanf(prompt, "What is %d %s %d?", &x, &op, &y); err != nil {
		t.Fatalf("%q: %v", prompt, err)
	}
	switch op {
	case "plus":
		return strconv.Itoa(x + y)
	case "minus":
		return strconv.Itoa(x - y)
	case "times":
		return strconv.Itoa(x * y)
	}
	t.Fatalf("%q", prompt)
	return ""
}

// labour finds a proof of work.
func labour(a Answer, bits int) Answer {
	for n := 0; ; n++ {
		a.Response = strconv.Itoa(n)
		if proves(a, bits) {
			return a
		}
	}
}

func refused(t *testing.T, what string, err error) {
	t.Helper()
	var f *fault.Error
	if !errors.As(err, &f) || f.Code != fault.IllegalArgument || !strings.HasPrefix(f.Message, "Incorrect Captcha") {
		t.Errorf("%s: %v", what, err)
	}
}

func TestArithmetic(t *testing.T) {
	ctx := context.Background()
	var c clock
	a := newArithmetic(t, testConfig(&c))
	seen := make(map[string]bool)
	for range 200 {
		q := a.Issue("reset")
		seen[strings.Fields(q.Prompt)[3]] = true
		right := Answer{q.Seal, " " + reckon(t, q.Prompt) + " "}
		if err := a.Check(ctx, "reset", right); err != nil {
			t.Fatalf("%s %+v: %v", q.Prompt, right, err)
		}
		refused(t, "again", a.Check(ctx, "reset", right))
	}
	if len(seen) != 3 {
		t.Errorf("only %v is asked", seen)
	}
}

// A script that could try again would have the result after some 50 attempts.
func TestArithmeticWrongAnswerSpendsTheQuestion(t *testing.T) {
	ctx := context.Background()
	var c clock
	a := newArithmetic(t, testConfig(&c))
	q := a.Issue("reset")
	refused(t, "wrong", a.Check(ctx, "reset", Answer{q.Seal, "x"}))
	refused(t, "right, too late", a.Check(ctx, "reset", Answer{q.Seal, reckon(t, q.Prompt)}))
}

func TestQuestionsAreBound(t *testing.T) {
	ctx := context.Background()
	var c clock
	cfg := testConfig(&c)
	a := newArithmetic(t, cfg)
	ask := func() (Question, Answer) {
		q := a.Issue("reset")
		return q, Answer{q.Seal, reckon(t, q.Prompt)}
	}

	_, right := ask()
	refused(t, "another purpose", a.Check(ctx, "other", right))
	if err := a.Check(ctx, "reset", right); err != nil {
		t.Errorf("what another purpose was refused for is spent: %v", err)
	}

	_, right = ask()
	c.ms.Add(cfg.Life.Milliseconds() - 1)
	if err := a.Check(ctx, "reset", right); err != nil {
		t.Errorf("just in time: %v", err)
	}
	_, right = ask()
	c.ms.Add(cfg.Life.Milliseconds())
	refused(t, "too late", a.Check(ctx, "reset", right))

	_, right = ask()
	sameCluster := newArithmetic(t, cfg)
	if err := sameCluster.Check(ctx, "reset", right); err != nil {
		t.Errorf("at another node: %v", err)
	}
	cfg.Key[0]++
	refused(t, "another cluster", newArithmetic(t, cfg).Check(ctx, "reset", right))
	refused(t, "nothing", a.Check(ctx, "reset", Answer{}))

	q := newWork(t, testConfig(new(clock)), 1).Issue("reset")
	refused(t, "work for arithmetic", a.Check(ctx, "reset", Answer{q.Seal, "1"}))
}

func TestWork(t *testing.T) {
	ctx := context.Background()
	var c clock
	cfg := testConfig(&c)
	w := newWork(t, cfg, 10)
	q := w.Issue("reset")
	if q.Bits != 10 || q.Prompt != "" {
		t.Errorf("question %+v", q)
	}
	right := labour(Answer{Challenge: q.Seal}, 10)
	// Work that was not done spends nothing.
	for _, response := range []string{"", "x", "-1", "1 ", "1x", strings.Repeat("1", 21)} {
		refused(t, response, w.Check(ctx, "reset", Answer{q.Seal, response}))
	}
	refused(t, "another purpose", w.Check(ctx, "other", right))
	if err := w.Check(ctx, "reset", right); err != nil {
		t.Errorf("right: %v", err)
	}
	refused(t, "again", w.Check(ctx, "reset", right))

	q = newArithmetic(t, cfg).Issue("reset")
	refused(t, "arithmetic for work", w.Check(ctx, "reset", Answer{q.Seal, "0"}))

	q = w.Issue("reset")
	right = labour(Answer{Challenge: q.Seal}, 10)
	for n := 0; ; n++ {
		if little := (Answer{q.Seal, strconv.Itoa(n)}); !proves(little, 10) && proves(little, 5) {
			refused(t, "too little work", w.Check(ctx, "reset", little))
			break
		}
	}
	c.ms.Add(cfg.Life.Milliseconds())
	refused(t, "too late", w.Check(ctx, "reset", right))
}

func TestProvesCountsBits(t *testing.T) {
	for response, worth := range map[string]int{ // printf x:309 | sha256sum
		"11":   0,  // cdea…
		"309":  12, // 000d3837…
		"2737": 15, // 0001f74c…
	} {
		for want := 1; want <= maxBits; want++ {
			if got := proves(Answer{"x", response}, want); got != (want <= worth) {
				t.Errorf("x:%s is worth %d bits: %v", response, want, got)
			}
		}
	}
}

func TestOneOfManyAnswersCounts(t *testing.T) {
	var c clock
	w := newWork(t, testConfig(&c), 4)
	q := w.Issue("reset")
	right := labour(Answer{Challenge: q.Seal}, 4)
	var taken atomic.Int32
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			if w.Check(context.Background(), "reset", right) == nil {
				taken.Add(1)
			}
		})
	}
	wg.Wait()
	if taken.Load() != 1 {
		t.Errorf("%d answers to one question were taken", taken.Load())
	}
}

func TestMemoryIsBounded(t *testing.T) {
	m := newMemory(3)
	id := func(n byte) [16]byte { return [16]byte{n} }
	for n := range byte(3) {
		if !m.add(id(n), 100, 0) || m.add(id(n), 100, 0) {
			t.Fatalf("%d is not remembered", n)
		}
	}
	if !m.add(id(3), 100, 0) || m.add(id(3), 100, 0) || m.add(id(2), 100, 0) {
		t.Error("a full memory forgot what is new")
	}
	if len(m.mu.expires) != 3 {
		t.Errorf("%d are remembered", len(m.mu.expires))
	}
	if !m.add(id(0), 100, 0) {
		t.Error("the oldest is still remembered")
	}
	if !m.add(id(9), 200, 100) || len(m.mu.expires) != 1 || m.mu.n != 1 {
		t.Errorf("what has expired takes room: %d", len(m.mu.expires))
	}
}

func TestConfigsThatCannotWork(t *testing.T) {
	var c clock
	for name, spoil := range map[string]func(*Config){
		"clock":    func(cfg *Config) { cfg.Now = nil },
		"life":     func(cfg *Config) { cfg.Life = 0 },
		"remember": func(cfg *Config) { cfg.Remember = 0 },
	} {
		cfg := testConfig(&c)
		spoil(&cfg)
		if _, err := NewArithmetic(cfg); err == nil {
			t.Errorf("arithmetic without %s", name)
		}
		if _, err := NewWork(cfg, 8); err == nil {
			t.Errorf("work without %s", name)
		}
	}
	for _, bits := range []int{0, -1, 25, 256} {
		if _, err := NewWork(testConfig(&c), bits); err == nil {
			t.Errorf("work of %d bits", bits)
		}
	}
}

func TestAnswerOf(t *testing.T) {
	for _, tc := range []struct {
		form map[string]string
		want Answer
	}{
		{map[string]string{}, Answer{}},
		{map[string]string{"recaptcha_challenge_field": "c", "recaptcha_response_field": "r"}, Answer{"c", "r"}},
		{map[string]string{"recaptcha_challenge": "c", "recaptcha_response": "r"}, Answer{"c", "r"}},
		{map[string]string{"g-recaptcha-response": "r"}, Answer{"", "r"}},
		{map[string]string{"recaptcha_response_field": "", "g-recaptcha-response": "r"}, Answer{"", "r"}},
	} {
		got, err := AnswerOf(func(name string) (string, error) { return tc.form[name], nil })
		if err != nil || got != tc.want {
			t.Errorf("%v: %+v, %v", tc.form, got, err)
		}
	}
	broken := errors.New("no body")
	if _, err := AnswerOf(func(string) (string, error) { return "", broken }); !errors.Is(err, broken) {
		t.Errorf("unreadable: %v", err)
	}
}

func TestNoneAsksNothing(t *testing.T) {
	if q := (None{}).Issue("reset"); q != (Question{}) {
		t.Errorf("%+v", q)
	}
	if err := (None{}).Check(context.Background(), "reset", Answer{}); err != nil {
		t.Error(err)
	}
}

// verifier is a local stand-in of an outside service.
func verifier(t *testing.T, answer http.HandlerFunc) *Service {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	cfg := DefaultServiceConfig("public", "s3cr3t")
	cfg.VerifyURL = server.URL + "/siteverify"
	cfg.Timeout = time.Minute
	s, err := NewService(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestService(t *testing.T) {
	var asked atomic.Int32
	s := verifier(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.Method != http.MethodPost || r.URL.Path != "/siteverify" || r.URL.RawQuery != "" || r.PostFormValue("secret") != "s3cr3t" {
			t.Errorf("%s %s %v", r.Method, r.URL, r.PostForm)
		}
		switch r.PostFormValue("response") {
		case "good & well":
			fmt.Fprint(w, `{"success": true, "challenge_ts": "2026-01-01T00:00:00Z", "hostname": "localhost"}`)
		default:
			fmt.Fprint(w, `{"success": false, "error-codes": ["invalid-input-response"]}`)
		}
	})
	ctx := context.Background()
	if err := s.Check(ctx, "reset", Answer{"", "good & well"}); err != nil {
		t.Error(err)
	}
	refused(t, "bad", s.Check(ctx, "reset", Answer{"", "bad"}))
	before := asked.Load()
	refused(t, "blank", s.Check(ctx, "reset", Answer{"", "  "}))
	refused(t, "huge", s.Check(ctx, "reset", Answer{"", strings.Repeat("x", maxResponse+1)}))
	if asked.Load() != before {
		t.Error("the service is asked about what cannot be an answer")
	}
	if w := s.Issue("reset").Widget; w == nil || w.SiteKey != "public" {
		t.Errorf("widget %+v", w)
	}
}

// Nobody is let through by a service that does not answer, and nobody is told
// that his answer was wrong.
func TestServiceThatCannotBeAsked(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"status": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) },
		"text":   func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "true") },
		"huge": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"x":"`+strings.Repeat("x", maxVerdict)+`","success":true}`)
		},
		"key": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"success":false,"error-codes":["invalid-input-secret"]}`)
		},
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/other", http.StatusTemporaryRedirect)
		},
	} {
		err := verifier(t, answer).Check(context.Background(), "reset", Answer{"", "r"})
		if !fault.Is(err, fault.Overloaded) {
			t.Errorf("%s: %v", name, err)
		}
		if strings.Contains(fmt.Sprint(err), "s3cr3t") {
			t.Errorf("%s: the key is in %v", name, err)
		}
	}
	hung := make(chan struct{})
	s := verifier(t, func(http.ResponseWriter, *http.Request) { <-hung })
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Check(ctx, "reset", Answer{"", "r"}); !fault.Is(err, fault.Overloaded) {
		t.Errorf("cancelled: %v", err)
	}
	close(hung)
}

func TestServiceConfigsThatCannotWork(t *testing.T) {
	for name, spoil := range map[string]func(*ServiceConfig){
		"public key":  func(cfg *ServiceConfig) { cfg.PublicKey = "" },
		"private key": func(cfg *ServiceConfig) { cfg.PrivateKey = "" },
		"verify URL":  func(cfg *ServiceConfig) { cfg.VerifyURL = "siteverify" },
		"script URL":  func(cfg *ServiceConfig) { cfg.ScriptURL = "javascript:alert(1)" },
		"source":      func(cfg *ServiceConfig) { cfg.Sources = []string{"https://a.example/; script-src *"} },
		"class":       func(cfg *ServiceConfig) { cfg.Class = "" },
		"timeout":     func(cfg *ServiceConfig) { cfg.Timeout = 0 },
	} {
		cfg := DefaultServiceConfig("public", "private")
		spoil(&cfg)
		if _, err := NewService(cfg); err == nil {
			t.Errorf("a service without %s", name)
		}
	}
}

func FuzzSeal(f *testing.F) {
	var c clock
	cfg := testConfig(&c)
	a := newArithmetic(f, cfg)
	w := newWork(f, cfg, 8)
	q := a.Issue("reset")
	f.Add(q.Seal, reckon(f, q.Prompt), "reset", uint8(0))
	q = w.Issue("reset")
	f.Add(q.Seal, "1", "reset", uint8(1))
	f.Add("", "", "", uint8(2))
	// Whatever is changed of a seal that counts, it counts no longer.
	f.Fuzz(func(t *testing.T, text, response, purpose string, flip uint8) {
		for _, checker := range []interface {
			Check(context.Context, string, Answer) error
		}{a, w} {
			if err := checker.Check(context.Background(), purpose, Answer{text, response}); err != nil && !fault.Is(err, fault.IllegalArgument) {
				t.Fatal(err)
			}
		}
		good := a.Issue(purpose).Seal
		if _, err := a.sealer.open(purpose, good); err != nil {
			t.Fatalf("its own seal: %v", err)
		}
		changed := []byte(good)
		changed[int(flip)%len(changed)] ^= flip | 1
		if _, err := a.sealer.open(purpose, string(changed)); err == nil {
			t.Fatalf("%q counts as %q", changed, good)
		}
		if text != good {
			if _, err := a.sealer.open(purpose+"x", good); err == nil {
				t.Fatal("a seal counts for another purpose")
			}
		}
	})
}
