package pages

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/trellisdb/trellis/api/auth"
	"github.com/trellisdb/trellis/api/pages/challenge"
	"github.com/trellisdb/trellis/storage/fault"
)

// none is a challenge that asks nothing.
type none struct{ challenge.None }

const formType = "application/x-www-form-urlencoded"

// opened is a form as a browser holds it.
func opened(t testing.TB, s *Site, v Visit) (Visit, string) {
	t.Helper()
	p := s.SignIn(v, SignIn{})
	v.Cookie, v.ContentType = p.cookie(), formType
	v.Origin, v.FetchSite = "null", "same-origin" // by our own referrer policy
	return v, field(t, p, FormField)
}

func TestForms(t *testing.T) {
	page := Visit{BaseURL: "https://api.example.org", Path: "/management/authorize"}
	for name, tc := range map[string]struct {
		change func(v *Visit, token *string)
		want   string // part of the message; empty: it passes
	}{
		"as it was shown":                 {func(*Visit, *string) {}, ""},
		"without headers of the browser":  {func(v *Visit, _ *string) { v.Origin, v.FetchSite = "", "" }, ""},
		"with our origin":                 {func(v *Visit, _ *string) { v.Origin = "https://API.example.org:443" }, ""},
		"through a proxy that ends TLS":   {func(v *Visit, _ *string) { v.Origin = "http://api.example.org" }, ""},
		"from nowhere, by the user":       {func(v *Visit, _ *string) { v.FetchSite = "none" }, ""},
		"among other cookies":             {func(v *Visit, _ *string) { v.Cookie = "a=b; " + v.Cookie + "; =; c" }, ""},
		"with the cookie of a parent too": {func(v *Visit, _ *string) { v.Cookie = "__Secure-trellis-form=AAAAAAAAAAAAAAAAAAAAAA; " + v.Cookie }, ""},

		"from another site":        {func(v *Visit, _ *string) { v.FetchSite = "cross-site" }, "another site"},
		"from a sibling":           {func(v *Visit, _ *string) { v.FetchSite = "same-site" }, "another site"},
		"from what is not known":   {func(v *Visit, _ *string) { v.FetchSite = "x" }, "another site"},
		"from another origin":      {func(v *Visit, _ *string) { v.Origin, v.FetchSite = "https://evil.example", "" }, "another site"},
		"from another port":        {func(v *Visit, _ *string) { v.Origin, v.FetchSite = "https://api.example.org:8443", "" }, "another site"},
		"from what is no origin":   {func(v *Visit, _ *string) { v.Origin = "api.example.org" }, "another site"},
		"from another site alone":  {func(v *Visit, token *string) { *v = Visit{BaseURL: v.BaseURL, FetchSite: "cross-site"}; *token = "" }, "another site"},
		"JSON in a form's clothes": {func(v *Visit, token *string) { v.ContentType, v.FetchSite, *token = "text/plain", "cross-site", "" }, "another site"},

		"without cookie":             {func(v *Visit, _ *string) { v.Cookie = "" }, "cookie"},
		"with another cookie":        {func(v *Visit, _ *string) { v.Cookie = "__Secure-trellis-form=AAAAAAAAAAAAAAAAAAAAAA" }, "too old"},
		"with a cookie of no TLS":    {func(v *Visit, _ *string) { v.Cookie = strings.TrimPrefix(v.Cookie, "__Secure-") }, "cookie"},
		"with no cookie of ours":     {func(v *Visit, _ *string) { v.Cookie = "__Secure-trellis-form=x" }, "cookie"},
		"without token":              {func(_ *Visit, token *string) { *token = "" }, "too old"},
		"without token, cookie only": {func(v *Visit, token *string) { v.Origin, v.FetchSite, *token = "", "", "" }, "too old"},
		"with half a token":          {func(_ *Visit, token *string) { *token = (*token)[:20] }, "too old"},
		"with a token of its own":    {func(_ *Visit, token *string) { *token = strings.Repeat("A", len(*token)) }, "too old"},
		"at another path":            {func(v *Visit, _ *string) { v.Path = "/acme/app/authorize" }, "too old"},
		"null, without token":        {func(v *Visit, token *string) { v.FetchSite, *token = "", "" }, "too old"},
		"null, without anything":     {func(v *Visit, token *string) { v.FetchSite, v.Cookie, *token = "", "", "" }, "cookie"},
	} {
		s := newSite(t, new(clock), nil)
		v, token := opened(t, s, page)
		tc.change(&v, &token)
		err := s.VerifyForm(v, ForSignIn, token)
		var f *fault.Error
		switch {
		case tc.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case tc.want != "" && (!errors.As(err, &f) || f.Code != fault.IllegalArgument || !strings.Contains(f.Message, tc.want)):
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}

// Clients that are no browsers post the documented fields and nothing else.
func TestWhatIsNoBrowserNeedsNoToken(t *testing.T) {
	s := newSite(t, new(clock), nil)
	for name, v := range map[string]Visit{
		"curl":                           {ContentType: formType},
		"an SDK":                         {ContentType: "application/json"},
		"nothing declared":               {},
		"a client with cookies":          {ContentType: formType, Cookie: "JSESSIONID=1; theme=dark"},
		"a script of another site, CORS": {ContentType: "application/json; charset=utf-8", Origin: "https://portal.example", FetchSite: "cross-site"},
		"a vendor's JSON":                {ContentType: "application/vnd.x+json", Origin: "https://portal.example", FetchSite: "cross-site"},
	} {
		v.BaseURL, v.Path = "https://api.example.org", "/management/users/resetpw"
		if err := s.VerifyForm(v, ForReset, ""); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFormsExpire(t *testing.T) {
	var c clock
	s := newSite(t, &c, nil)
	v, token := opened(t, s, Visit{Path: "/x"})
	c.ms.Add(time.Hour.Milliseconds() - 1)
	if err := s.VerifyForm(v, ForSignIn, token); err != nil {
		t.Errorf("just in time: %v", err)
	}
	c.ms.Add(1)
	if err := s.VerifyForm(v, ForSignIn, token); err == nil {
		t.Error("too late, and it passes")
	}
}

func TestFormsAreForOneThing(t *testing.T) {
	s := newSite(t, new(clock), nil)
	v, token := opened(t, s, Visit{Path: "/x"})
	for _, purpose := range []Purpose{ForReset, ForPassword, ""} {
		if err := s.VerifyForm(v, purpose, token); err == nil {
			t.Errorf("a form to sign in is taken for %q", purpose)
		}
	}
}

func TestFormsAreGoodAtEveryNode(t *testing.T) {
	v, token := opened(t, newSite(t, new(clock), nil), Visit{Path: "/x"})
	if err := newSite(t, new(clock), nil).VerifyForm(v, ForSignIn, token); err != nil {
		t.Errorf("another node: %v", err)
	}
	cfg := DefaultConfig(auth.DeriveKey([32]byte{2}, "pages"))
	cfg.Now = new(clock).now // 1970: nothing has expired
	other, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.VerifyForm(v, ForSignIn, token); err == nil {
		t.Error("the form of another cluster passes")
	}
}

// A page in a second tab must not spoil the form in the first.
func TestFormsInTwoTabs(t *testing.T) {
	s := newSite(t, new(clock), nil)
	first, token := opened(t, s, Visit{Path: "/x"})
	second, other := opened(t, s, Visit{Path: "/x", Cookie: first.Cookie})
	if first.Cookie != second.Cookie || token == "" {
		t.Fatalf("the cookie changed from %s to %s", first.Cookie, second.Cookie)
	}
	for _, token := range []string{token, other} {
		if err := s.VerifyForm(second, ForSignIn, token); err != nil {
			t.Error(err)
		}
	}
}

func TestCookie(t *testing.T) {
	s := newSite(t, new(clock), nil)
	for base, want := range map[string]string{
		"https://api.example.org": "__Secure-trellis-form=V; Max-Age=3600; HttpOnly; Secure; SameSite=Strict",
		"http://localhost:8080":   "trellis-form=V; Max-Age=3600; HttpOnly; SameSite=Strict",
		"":                        "trellis-form=V; Max-Age=3600; HttpOnly; SameSite=Strict",
	} {
		p := s.SetPassword(Visit{BaseURL: base}, SetPassword{})
		_, value, _ := strings.Cut(p.cookie(), "=")
		if len(value) != 22 {
			t.Errorf("value %q", value)
		}
		if got := strings.Replace(p.get("Set-Cookie"), value, "V", 1); got != want {
			t.Errorf("%s: %s", base, got)
		}
	}
}

// What a page needs of a request, taken from a real one.
func visitOf(r *http.Request) Visit {
	return Visit{
		BaseURL: "http://" + r.Host, Path: r.URL.Path, Cookie: r.Header.Get("Cookie"), Origin: r.Header.Get("Origin"),
		FetchSite: r.Header.Get("Sec-Fetch-Site"), ContentType: r.Header.Get("Content-Type"),
	}
}

func TestVisitOfARequest(t *testing.T) {
	s := newSite(t, new(clock), nil)
	r := httptest.NewRequest(http.MethodPost, "http://api.example.org/x?token=t", http.NoBody)
	v, token := opened(t, s, visitOf(r))
	r.Header = http.Header{"Cookie": {v.Cookie}, "Origin": {"http://api.example.org"}, "Content-Type": {formType}}
	if err := s.VerifyForm(visitOf(r), ForSignIn, token); err != nil {
		t.Error(err)
	}
}

func TestAnswersAreForTheReset(t *testing.T) {
	s := newSite(t, new(clock), purposes{})
	if err := s.CheckAnswer(context.Background(), challenge.Answer{Response: "reset"}); err != nil {
		t.Error(err)
	}
	if got := field(t, s.ResetAccount(Visit{}, ResetAccount{}), challenge.ChallengeField); got != "reset" {
		t.Errorf("asked for %q", got)
	}
}

// purposes takes the purpose for an answer.
type purposes struct{}

func (purposes) Issue(purpose string) challenge.Question { return challenge.Question{Seal: purpose} }

func (purposes) Check(_ context.Context, purpose string, a challenge.Answer) error {
	if a.Response != purpose {
		return errors.New("asked for " + purpose)
	}
	return nil
}

func FuzzForm(f *testing.F) {
	s := newSite(f, new(clock), nil)
	// The cookie is a fixed one: processes that fuzz together must agree on the token.
	v, token := opened(f, s, Visit{Path: "/x", Cookie: "trellis-form=AAAAAAAAAAAAAAAAAAAAAA"})
	f.Add(v.Cookie, token, "", "", formType)
	f.Add("trellis-form=", "", "null", "same-origin", "")
	f.Add("", "AAAA", "https://[::1", "cross-site", "text/plain;")
	f.Fuzz(func(t *testing.T, cookie, sent, origin, site, kind string) {
		got := Visit{BaseURL: "http://localhost", Path: "/x", Cookie: cookie, Origin: origin, FetchSite: site, ContentType: kind}
		err := s.VerifyForm(got, ForSignIn, sent)
		if err != nil && !fault.Is(err, fault.IllegalArgument) {
			t.Fatal(err)
		}
		if err == nil && sent != token && !declaresJSON(kind) && (origin != "" || site != "" || len(got.cookies()) > 0) {
			t.Fatalf("%q passes with cookie %q, origin %q, site %q", sent, cookie, origin, site)
		}
		// A form passes with what its own page set, whatever the browser held.
		own, fresh := opened(t, s, Visit{BaseURL: got.BaseURL, Path: origin, Cookie: cookie})
		if err := s.VerifyForm(own, ForSignIn, fresh); err != nil {
			t.Fatalf("cookie %q: %v", cookie, err)
		}
	})
}
