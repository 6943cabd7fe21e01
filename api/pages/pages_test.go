package pages

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/net/html"
)

// injections are texts that do harm where a page does not escape them.
func injections() []string {
	return []string{
		`"><script>alert(1)</script>`,
		`'><img src=x onerror=alert(1)>`,
		`</title></style></script><script>alert(1)</script>`,
		`" autofocus onfocus="alert(1)`,
		"javascript:alert(1)",
		`--><svg onload=alert(1)>`,
		`{{.Nonce}}`,
		`<a href="https://evil.example">x</a>`,
		"&quot;&#34;&lt;",
		"a@b.<b>c",
	}
}

// complaints lists what no page may have, whatever data it shows.
func complaints(t testing.TB, p Page) []string {
	var wrong []string
	complain := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	all := parsed(t, p)

	labels, ids := make(map[string]bool), make(map[string]bool)
	for _, e := range named(all, "label") {
		labels[e.attr("for")] = strings.TrimSpace(e.text()) != ""
	}
	allowed := " html head meta title style script body main h1 p form input label span button strong noscript div a "
	nonce := regexp.MustCompile(`style-src 'nonce-([A-Za-z0-9_-]{22})'`).FindStringSubmatch(p.get("Content-Security-Policy"))
	if nonce == nil {
		return []string{"no nonce in the policy " + p.get("Content-Security-Policy")}
	}
	for _, e := range all {
		if !strings.Contains(allowed, " "+e.Data+" ") {
			complain("element %s", e.Data)
		}
		for _, a := range e.Attr {
			switch {
			case strings.HasPrefix(a.Key, "on"):
				complain("handler %s of %s", a.Key, e.Data)
			case a.Key == "style", a.Key == "src" && e.Data != "script", a.Key == "href" && e.Data != "a",
				a.Key == "autofocus", a.Key == "formaction", a.Key == "srcdoc", a.Key == "http-equiv":
				complain("attribute %s of %s", a.Key, e.Data)
			}
		}
		if id, ok := e.lookup("id"); ok {
			if ids[id] {
				complain("two elements %s", id)
			}
			ids[id] = true
		}
		switch e.Data {
		case "script", "style":
			if e.attr("nonce") != nonce[1] {
				complain("%s with the nonce %q", e.Data, e.attr("nonce"))
			}
		case "input":
			_, hidden := e.lookup("hidden")
			if e.attr("type") != "hidden" && !hidden && !labels[e.attr("id")] {
				complain("input %s has no label", e.attr("name"))
			}
			if e.attr("type") != "hidden" && e.attr("autocomplete") == "" {
				complain("input %s does not say what it completes from", e.attr("name"))
			}
		case "form":
			if e.attr("method") != "post" || e.attr("action") != "?" {
				complain("form by %s to %s", e.attr("method"), e.attr("action"))
			}
		}
	}
	for _, e := range all {
		if d, ok := e.lookup("aria-describedby"); ok && !ids[d] {
			complain("described by %s, which is not there", d)
		}
	}
	for tag, want := range map[string]int{"html": 1, "title": 1, "style": 1, "main": 1, "h1": 1} {
		if got := len(named(all, tag)); got != want {
			complain("%d of %s", got, tag)
		}
	}
	if all[0].attr("lang") != "en" || !strings.HasPrefix(string(p.Body), "<!DOCTYPE html>\n") {
		complain("no language or no type")
	}
	if !utf8.Valid(p.Body) {
		complain("not UTF-8")
	}
	return wrong
}

func TestEveryPageIsSound(t *testing.T) {
	for challengeName, asks := range map[string]Challenge{"arithmetic": nil, "work": asksWork(t, 8), "service": asksService(t)} {
		s := newSite(t, new(clock), asks)
		for _, text := range append(injections(), "", "plain") {
			for name, p := range everyPage(s, Visit{Path: "/x"}, text) {
				for _, wrong := range complaints(t, p) {
					t.Errorf("%s, %s, %q: %s", challengeName, name, text, wrong)
				}
				alerts := 0
				for _, e := range parsed(t, p) {
					if e.attr("role") == "alert" {
						alerts++
					}
				}
				says := []string{"sign in", "authorize failed", "reset request", "reset account", "set password"}
				told := strings.HasPrefix(name, "bad ") || strings.HasPrefix(name, "organization bad") ||
					strings.HasPrefix(name, "organization un") || strings.HasSuffix(name, "as known") ||
					(text != "" && slices.Contains(says, name))
				if (alerts == 1) != told || alerts > 1 {
					t.Errorf("%s, %q: %d alerts", name, text, alerts)
				}
			}
		}
	}
}

// What clients sent is in the page as they sent it: not dropped, not decoded.
func TestFieldsCarryWhatWasSent(t *testing.T) {
	s := newSite(t, new(clock), nil)
	for _, text := range injections() {
		all := everyPage(s, Visit{}, text)
		for page, fields := range map[string][]string{
			"sign in":       {"response_type", "client_id", "redirect_uri", "scope", "state", "username"},
			"reset request": {"email"},
			"set password":  {"token", "username"},
		} {
			for _, name := range fields {
				if got := field(t, all[page], name); got != text {
					t.Errorf("%s: %s is %q, want %q", page, name, got, text)
				}
			}
		}
	}
}

func TestSignInKeepsItsFieldsApart(t *testing.T) {
	s := newSite(t, new(clock), nil)
	p := s.SignIn(Visit{}, SignIn{ResponseType: "1", ClientID: "2", RedirectURI: "3", Scope: "4", State: "5", Username: "6"})
	for name, want := range map[string]string{
		"response_type": "1", "client_id": "2", "redirect_uri": "3", "scope": "4", "state": "5", "username": "6", "password": "",
	} {
		if got := field(t, p, name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

// What clients and their tests look for in the pages.
func TestWords(t *testing.T) {
	s := newSite(t, new(clock), nil)
	v := Visit{Path: "/management/users/resetpw"}
	for _, tc := range []struct {
		page   Page
		status int
		title  string
		words  []string
		not    []string
	}{
		{s.SignIn(v, SignIn{Message: WrongPassword}), 200, "Sign In", []string{"Username or password do not match"}, nil},
		{s.SignIn(v, SignIn{Target: target(t, "https://app.example.org/cb")}), 200, "Sign In", []string{"app.example.org"}, []string{"do not match"}},
		{s.SignIn(v, SignIn{Status: 400}), 400, "Sign In", nil, nil},
		{s.AuthorizeFailed(InvalidClientID), 400, "Sign In", []string{"Unable to authenticate (OAuth). Invalid client_id"}, nil},
		{s.ResetRequest(v, ResetRequest{}), 200, "Reset Password", []string{"What is"}, []string{"invalid token", "password set"}},
		{s.ResetRequest(v, ResetRequest{Message: NoEmail}), 200, "Reset Password", []string{"No email provided"}, nil},
		{s.ResetAccount(v, ResetAccount{Email: "dana@example.org", Message: InvalidToken}), 200, "Reset Password",
			[]string{"invalid token", "d***@e***.org"}, []string{"dana", "example", "password set"}},
		{s.ResetAccount(v, ResetAccount{}), 200, "Reset Password", []string{"the email address of the account"}, []string{"invalid token"}},
		{s.SetPassword(v, SetPassword{Token: "t", Message: NotTheSame}), 200, "Reset Password", []string{"not the same"}, []string{"invalid token", "password set"}},
		{s.InstructionsSent(), 200, "Reset Password", []string{"sent"}, []string{"invalid token", "password set"}},
		{s.PasswordSet(""), 200, "Reset Password", []string{"password set"}, []string{"invalid token", "href"}},
		{s.PasswordSet("https://login.example.org/"), 200, "Reset Password", []string{"password set", `href="https://login.example.org/"`}, nil},
		{s.PasswordSet("javascript:alert(1)"), 200, "Reset Password", nil, []string{"javascript:"}},
		{s.Activated(User), 200, "Account Activated", []string{"activated"}, nil},
		{s.Activated(Organization), 200, "Organization Activated", []string{"activated"}, nil},
		{s.Confirmed(User), 200, "Account Confirmed", []string{"confirmed"}, []string{"activation"}},
		{s.Confirmed(Organization), 200, "Organization Confirmed", []string{"confirmed"}, []string{"activation"}},
		{s.AwaitingActivation(User), 200, "Account Confirmed", []string{"confirmed", "waits for activation"}, nil},
		{s.AwaitingActivation(Organization), 200, "Organization Confirmed", []string{"confirmed", "waits for activation"}, nil},
		{s.BadActivation(User), 400, "Account Activation", []string{"Activation token invalid or expired"}, nil},
		{s.BadActivation(Organization), 400, "Organization Activation", []string{"Activation token invalid or expired"}, nil},
		{s.BadConfirmation(User), 400, "Account Confirmation", []string{"Confirmation token invalid or expired"}, nil},
		{s.BadConfirmation(Organization), 400, "Organization Confirmation", []string{"Confirmation token invalid or expired"}, nil},
	} {
		if got := named(parsed(t, tc.page), "title")[0].text(); got != tc.title || tc.page.Status != tc.status {
			t.Errorf("%q with status %d, want %q with %d", got, tc.page.Status, tc.title, tc.status)
		}
		for _, words := range tc.words {
			if !strings.Contains(html.UnescapeString(string(tc.page.Body)), words) {
				t.Errorf("%s does not say %q:\n%s", tc.title, words, tc.page.Body)
			}
		}
		for _, words := range tc.not {
			if strings.Contains(string(tc.page.Body), words) {
				t.Errorf("%s says %q", tc.title, words)
			}
		}
	}
}

func TestFormsHaveTheirFields(t *testing.T) {
	s := newSite(t, new(clock), nil)
	none := newSite(t, new(clock), none{})
	work := newSite(t, new(clock), asksWork(t, 8))
	v := Visit{Path: "/x"}
	for _, tc := range []struct {
		page Page
		want string // name:type:autocomplete
	}{
		{s.SignIn(v, SignIn{}), "form_token:hidden: response_type:hidden: client_id:hidden: redirect_uri:hidden: scope:hidden: state:hidden: username:text:username password:password:current-password"},
		{s.ResetRequest(v, ResetRequest{}), "form_token:hidden: email:text:username recaptcha_challenge_field:hidden: recaptcha_response_field:text:off"},
		{s.ResetAccount(v, ResetAccount{}), "form_token:hidden: recaptcha_challenge_field:hidden: recaptcha_response_field:text:off"},
		{none.ResetAccount(v, ResetAccount{}), "form_token:hidden:"},
		{work.ResetAccount(v, ResetAccount{}), "form_token:hidden: recaptcha_challenge_field:hidden: recaptcha_response_field:hidden:"},
		{s.SetPassword(v, SetPassword{}), "form_token:hidden: token:hidden: password1:password:new-password password2:password:new-password"},
	} {
		var got []string
		for _, e := range named(parsed(t, tc.page), "input") {
			got = append(got, e.attr("name")+":"+e.attr("type")+":"+e.attr("autocomplete"))
		}
		if joined := strings.Join(got, " "); joined != tc.want {
			t.Errorf("got  %s\nwant %s", joined, tc.want)
		}
		if buttons := named(parsed(t, tc.page), "button"); len(buttons) != 1 || buttons[0].attr("type") != "submit" {
			t.Errorf("%d buttons", len(buttons))
		}
	}
}

func TestHeaders(t *testing.T) {
	for challengeName, tc := range map[string]struct {
		asks    Challenge
		scripts string
	}{
		"arithmetic": {nil, ""},
		"work":       {asksWork(t, 8), "script-src 'nonce-N'; "},
		"service": {asksService(t), "script-src 'nonce-N' https://www.google.com/recaptcha/ https://www.gstatic.com/recaptcha/ https://recaptcha.google.com/recaptcha/; " +
			"frame-src https://www.google.com/recaptcha/ https://www.gstatic.com/recaptcha/ https://recaptcha.google.com/recaptcha/; " +
			"connect-src https://www.google.com/recaptcha/ https://www.gstatic.com/recaptcha/ https://recaptcha.google.com/recaptcha/; "},
	} {
		s := newSite(t, new(clock), tc.asks)
		seen := make(map[string]bool)
		for name, p := range everyPage(s, Visit{Path: "/x", BaseURL: "https://api.example.org"}, "x") {
			got := p.get("Content-Security-Policy")
			nonce := regexp.MustCompile(`'nonce-([^']+)'`).FindStringSubmatch(got)[1]
			if seen[nonce] {
				t.Errorf("the nonce %s comes twice", nonce)
			}
			seen[nonce] = true
			scripts, forms := "", "'none'"
			if strings.HasPrefix(name, "reset") {
				scripts = tc.scripts
			}
			if strings.HasPrefix(name, "reset") || name == "sign in" || name == "set password" {
				forms = "'self'"
			}
			want := "default-src 'none'; style-src 'nonce-N'; " + scripts + "form-action " + forms + "; frame-ancestors 'none'; base-uri 'none'"
			if got = strings.ReplaceAll(got, nonce, "N"); got != want {
				t.Errorf("%s, %s:\n got %s\nwant %s", challengeName, name, got, want)
			}
			for header, want := range map[string]string{
				"Content-Type": "text/html; charset=utf-8", "Referrer-Policy": "no-referrer",
				"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Cache-Control": "no-store",
			} {
				if got := p.get(header); got != want {
					t.Errorf("%s: %s is %q", name, header, got)
				}
			}
			if (p.get("Set-Cookie") != "") != (forms == "'self'") {
				t.Errorf("%s: cookie %q", name, p.get("Set-Cookie"))
			}
		}
	}
}

// A browser must be let go where the client asked, and nowhere else.
func TestSignInMayLeadToTheTarget(t *testing.T) {
	s := newSite(t, new(clock), nil)
	for uri, want := range map[string]string{
		"https://app.example.org/cb": "form-action 'self' https:;",
		"http://localhost:3000/":     "form-action 'self' http:;",
		"com.example.app:/cb":        "form-action 'self' com.example.app:;",
	} {
		p := s.SignIn(Visit{}, SignIn{RedirectURI: uri, Target: target(t, uri)})
		if got := p.get("Content-Security-Policy"); !strings.Contains(got, want) {
			t.Errorf("%s: %s", uri, got)
		}
	}
}

func TestMaskEmail(t *testing.T) {
	for address, want := range map[string]string{
		"dana@example.org":       "d***@e***.org",
		"d@e.org":                "***@***.org",
		"élan@mail.example.org":  "é***@m***.org",
		"dana@localhost":         "d***@l***",
		"dana":                   "d***",
		"":                       "",
		"@":                      "***@***",
		"a@b@example.org":        "a***@e***.org",
		"\xff\xfe@example.org":   "***@e***.org",
		"dana@example.org.":      "d***@e***.",
		"averyverylongone@x.org": "a***@***.org",
	} {
		if got := MaskEmail(address); got != want {
			t.Errorf("%q: %q, want %q", address, got, want)
		}
	}
}

func TestWantsHTML(t *testing.T) {
	for accept, want := range map[string]bool{
		"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8": true,
		"text/html":                           true,
		"TEXT/HTML; charset=utf-8":            true,
		"application/json, text/html":         true,
		"application/json;q=0.5, text/html":   true,
		"application/json, text/html;q=0.9":   false,
		"text/html;q=0":                       false,
		"text/html;q=0.0, */*":                false,
		"*/*":                                 false,
		"text/*":                              false,
		"":                                    false,
		"application/json":                    false,
		"application/json, text/plain, */*":   false,
		"text/htmlx":                          false,
		"text/html;q=NaN":                     false,
		"text/html;q=2":                       false,
		"text/html;q":                         false,
		",,;,text/html":                       true,
		`application/json;profile="text/html`: false,
	} {
		if got := WantsHTML(accept); got != want {
			t.Errorf("%q: %v", accept, got)
		}
	}
}

// The colours of the style sheet can be told apart, in light and dark: 4.5 to 1
// for text and 3 to 1 for lines (WCAG 2.2, 1.4.3 and 1.4.11).
func TestContrast(t *testing.T) {
	style := string(newSite(t, new(clock), nil).style)
	light, dark, found := strings.Cut(style, "prefers-color-scheme: dark")
	if !found {
		t.Fatal("there is no dark scheme")
	}
	for name, sheet := range map[string]string{"light": light, "dark": dark} {
		colours := make(map[string]float64)
		for _, m := range regexp.MustCompile(`--([a-z-]+): #([0-9a-f]{6});`).FindAllStringSubmatch(sheet, -1) {
			colours[m[1]] = luminance(t, m[2])
		}
		for _, pair := range []struct {
			over, under string
			least       float64
		}{
			{"text", "card", 4.5}, {"quiet", "card", 4.5}, {"action", "card", 4.5}, {"on-action", "action", 4.5},
			{"on-alert", "alert", 4.5}, {"line", "card", 3},
		} {
			a, okA := colours[pair.over]
			b, okB := colours[pair.under]
			if ratio := (max(a, b) + 0.05) / (min(a, b) + 0.05); !okA || !okB || ratio < pair.least {
				t.Errorf("%s: %s on %s is %.2f to 1", name, pair.over, pair.under, ratio)
			}
		}
	}
}

// luminance is the relative luminance of a colour.
func luminance(t *testing.T, colour string) float64 {
	t.Helper()
	sum := 0.0
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		n, err := strconv.ParseUint(colour[2*i:2*i+2], 16, 8)
		if err != nil {
			t.Fatal(err)
		}
		c := float64(n) / 255
		if c <= 0.04045 {
			c /= 12.92
		} else {
			c = math.Pow((c+0.055)/1.055, 2.4)
		}
		sum += weight * c
	}
	return sum
}

func FuzzPages(f *testing.F) {
	for _, text := range injections() {
		f.Add(text)
	}
	f.Add("\x00\xff\r\n\u2028")
	s := newSite(f, new(clock), nil)
	f.Fuzz(func(t *testing.T, text string) {
		plain := everyPage(s, Visit{}, "x")
		for name, p := range everyPage(s, Visit{Path: text, Cookie: text}, text) {
			for _, wrong := range complaints(t, p) {
				// Bytes that are no UTF-8 are shown as browsers show them.
				if wrong != "not UTF-8" || utf8.ValidString(text) {
					t.Errorf("%s, %q: %s", name, text, wrong)
				}
			}
			if got, want := len(parsed(t, p)), len(parsed(t, plain[name])); text != "" && got != want {
				t.Errorf("%s, %q: %d elements, want %d", name, text, got, want)
			}
		}
	})
}

func FuzzMaskEmail(f *testing.F) {
	f.Add("dana@example.org")
	f.Add("a@b@c.")
	f.Fuzz(func(t *testing.T, address string) {
		masked := MaskEmail(address)
		at := strings.LastIndexByte(address, '@')
		if at < 0 {
			at = len(address)
		}
		if local, _, _ := strings.Cut(masked, "@"); utf8.RuneCountInString(local) > 4 {
			t.Errorf("%q shows %q of %q", masked, local, address[:at])
		}
	})
}

func FuzzWantsHTML(f *testing.F) {
	f.Add("text/html,*/*;q=0.8")
	f.Fuzz(func(t *testing.T, accept string) {
		if WantsHTML(accept) && !strings.Contains(strings.ToLower(accept), "html") {
			t.Errorf("%q names no HTML", accept)
		}
	})
}
