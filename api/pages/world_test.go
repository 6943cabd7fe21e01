package pages

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/html"

	"github.com/trellisdb/trellis/api/auth"
	"github.com/trellisdb/trellis/api/pages/challenge"
	"github.com/trellisdb/trellis/api/pages/redirect"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is a clock that the test sets.
type clock struct{ ms atomic.Int64 }

func (c *clock) now() time.Time { return time.UnixMilli(c.ms.Load()) }

// newSite makes a site with this challenge; nil: arithmetic.
func newSite(t testing.TB, c *clock, asks Challenge) *Site {
	t.Helper()
	c.ms.Store(1_700_000_000_000)
	cfg := DefaultConfig(auth.DeriveKey([32]byte{1}, "pages"))
	cfg.Now = c.now
	if asks != nil {
		cfg.Challenge = asks
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// asksWork is a challenge of this many bits.
func asksWork(t testing.TB, bits int) Challenge {
	t.Helper()
	w, err := challenge.NewWork(challenge.DefaultConfig(auth.DeriveKey([32]byte{1}, "pages")), bits)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// asksService is a challenge by the widget of an outside service.
func asksService(t testing.TB) Challenge {
	t.Helper()
	s, err := challenge.NewService(challenge.DefaultServiceConfig("site-key", "private"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// everyPage renders each page with this text in every place that takes one.
func everyPage(s *Site, v Visit, text string) map[string]Page {
	return map[string]Page{
		"sign in": s.SignIn(v, SignIn{
			ResponseType: text, ClientID: text, RedirectURI: text, Scope: text, State: text, Username: text, Message: text,
		}),
		"authorize failed":          s.AuthorizeFailed(text),
		"reset request":             s.ResetRequest(v, ResetRequest{Email: text, Message: text}),
		"reset account":             s.ResetAccount(v, ResetAccount{Email: text, Message: text}),
		"set password":              s.SetPassword(v, SetPassword{Token: text, Username: text, Message: text}),
		"instructions sent":         s.InstructionsSent(),
		"password set":              s.PasswordSet(""),
		"activated":                 s.Activated(User),
		"organization activated":    s.Activated(Organization),
		"confirmed":                 s.Confirmed(User),
		"organization confirmed":    s.Confirmed(Organization),
		"awaiting":                  s.AwaitingActivation(User),
		"organization awaiting":     s.AwaitingActivation(Organization),
		"bad activation":            s.BadActivation(User),
		"organization bad":          s.BadActivation(Organization),
		"bad confirmation":          s.BadConfirmation(User),
		"organization unconfirmed":  s.BadConfirmation(Organization),
		"authorize failed as known": s.AuthorizeFailed(InvalidClientID),
	}
}

// get returns a header of a page.
func (p Page) get(name string) string {
	for _, h := range p.Header {
		if h.Name == name {
			return h.Value
		}
	}
	return ""
}

// cookie returns name=value, as a browser sends it back.
func (p Page) cookie() string {
	cookie, _, _ := strings.Cut(p.get("Set-Cookie"), ";")
	return cookie
}

// element is an element of a parsed page.
type element struct {
	*html.Node
}

func (e element) attr(name string) string {
	v, _ := e.lookup(name)
	return v
}

func (e element) lookup(name string) (string, bool) {
	for _, a := range e.Attr {
		if a.Key == name {
			return a.Val, true
		}
	}
	return "", false
}

func (e element) text() string {
	var b strings.Builder
	for n := range e.Descendants() {
		if n.Type == html.TextNode {
			b.WriteString(n.Data)
		}
	}
	return b.String()
}

// parsed lists the elements of a page in order.
func parsed(t testing.TB, p Page) []element {
	t.Helper()
	root, err := html.ParseWithOptions(strings.NewReader(string(p.Body)), html.ParseOptionEnableScripting(false))
	if err != nil {
		t.Fatal(err)
	}
	var all []element
	for n := range root.Descendants() {
		if n.Type == html.ElementNode {
			all = append(all, element{n})
		}
	}
	return all
}

// named are the elements with this tag.
func named(all []element, tag string) []element {
	return slices.DeleteFunc(slices.Clone(all), func(e element) bool { return e.Data != tag })
}

// field is the value of an input.
func field(t testing.TB, p Page, name string) string {
	t.Helper()
	for _, e := range named(parsed(t, p), "input") {
		if e.attr("name") == name {
			return e.attr("value")
		}
	}
	t.Fatalf("there is no input %s in\n%s", name, p.Body)
	return ""
}

func target(t testing.TB, uri string) redirect.Target {
	t.Helper()
	got, err := redirect.Parse(uri, redirect.Allow{})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestConfigsThatCannotWork(t *testing.T) {
	for name, spoil := range map[string]func(*Config){
		"clock":     func(cfg *Config) { cfg.Now = nil },
		"life":      func(cfg *Config) { cfg.FormLife = time.Second },
		"challenge": func(cfg *Config) { cfg.Challenge = nil },
	} {
		cfg := DefaultConfig(auth.Key{})
		spoil(&cfg)
		if _, err := New(cfg); err == nil {
			t.Errorf("a site without %s", name)
		}
	}
}

func TestDefaultChallengeIsArithmetic(t *testing.T) {
	s, err := New(DefaultConfig(auth.DeriveKey([32]byte{1}, "pages")))
	if err != nil {
		t.Fatal(err)
	}
	p := s.ResetRequest(Visit{}, ResetRequest{})
	answer := challenge.Answer{Challenge: field(t, p, challenge.ChallengeField), Response: "wrong"}
	if err := s.CheckAnswer(context.Background(), answer); err == nil {
		t.Error("a wrong answer is taken")
	}
	if p.Status != http.StatusOK {
		t.Errorf("status %d", p.Status)
	}
}
