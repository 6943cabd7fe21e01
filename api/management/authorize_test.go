package management_test

import (
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/trellisdb/trellis/api/apitest"
	"github.com/trellisdb/trellis/api/management"
	"github.com/trellisdb/trellis/api/pages"
	"github.com/trellisdb/trellis/api/pages/challenge"
	"github.com/trellisdb/trellis/api/pages/redirect"
)

const formType = "application/x-www-form-urlencoded"

// Item 16 of spec auth-and-tokens section 14.
func TestAuthorize(t *testing.T) {
	w := newWorld(t)
	const target = "https://app.example/cb?x=1"
	for _, tc := range []struct{ path, client, username, password, me string }{
		{"/management/authorize", "anything", "acmeowner", password, "/management/users/me"},
		{"/acme/shop/authorize", id(w.acme.app), "lee", "pw4lee", "/acme/shop/users/me"},
		{"/" + w.acme.id + "/" + w.acme.appID + "/authorize", id(w.acme.client), "lee@example.org", "pw4lee", "/acme/shop/users/me"},
	} {
		asked := encode("response_type", "code", "client_id", tc.client, "redirect_uri", target, "scope", "all", "state", `a"b c<`)
		form := w.ok(call{Path: tc.path + "?" + asked})
		if !strings.Contains(form.Text, "<title>Sign In</title>") || !strings.Contains(form.Text, `value="a&#34;b c&lt;"`) || !strings.Contains(form.Text, `type="password"`) {
			t.Error(form.Text)
		}
		post := func(pairs ...string) answer {
			return w.do(call{Method: "POST", Path: tc.path, Type: formType, Body: asked + "&" + encode(pairs...)})
		}
		bad := post("username", tc.username, "password", "wrong")
		if bad.Status != 200 || !strings.Contains(bad.Text, "Username or password do not match") || !strings.Contains(bad.Text, `value="a&#34;b c&lt;"`) || strings.Contains(bad.Text, "wrong") {
			t.Errorf("%d %s", bad.Status, bad.Text)
		}
		good := post("username", tc.username, "password", tc.password)
		to, err := url.Parse(good.Header.Get("Location"))
		if err != nil || good.Status != 302 || to.Host != "app.example" || to.Query().Get("x") != "1" || to.Query().Get("state") != `a"b c<` {
			t.Fatalf("%d %v %s", good.Status, good.Header, good.Text)
		}
		code := to.Query().Get("code")
		w.usable(code, tc.me)
		// The code is the token, also for who asks for it properly.
		token := strings.TrimSuffix(tc.path, "authorize") + "token"
		a := w.ok(call{Method: "POST", Path: token, Body: object{"grant_type": "authorization_code", "code": code, "redirect_uri": target}})
		if a.Str("access_token") != code || a.Str("user", "uuid") == "" || a.Get("expires_in").(float64) < 604000 {
			t.Error(a.Text)
		}
		w.refused(grant, call{Path: token + "?grant_type=authorization_code&code=x"})
		w.refused(grant, call{Path: token + "?grant_type=authorization_code&code=" + w.acme.appToken})
		w.refused(grant, call{Path: token + "?grant_type=authorization_code&code=" + w.other.user})
		// In the fragment.
		asked = encode("response_type", "token", "client_id", tc.client, "redirect_uri", "myapp://cb", "state", "s")
		if to := post("username", tc.username, "password", tc.password).Header.Get("Location"); !regexp.MustCompile(`^myapp://cb#access_token=YWMt[\w-]{59}&expires_in=604800&state=s$`).MatchString(to) {
			t.Error(to)
		}
		for _, evil := range []string{"", "javascript:alert(1)", "//evil.example", "/relative", "data:text/html,x", "https://a.example/\r\nX: y", "https://user@evil.example"} {
			asked = encode("response_type", "code", "client_id", tc.client, "redirect_uri", evil)
			if a := post("username", tc.username, "password", tc.password); a.Status != 200 || !strings.Contains(a.Text, "Username or password do not match") || a.Header.Get("Location") != "" {
				t.Errorf("%q: %d %v", evil, a.Status, a.Header)
			}
		}
	}
	for _, client := range []string{"", "x", id(w.other.app), id(w.other.client), strings.Repeat("x", 26)} {
		for _, method := range []string{"GET", "POST"} {
			a := w.do(call{Method: method, Path: "/acme/shop/authorize?" + encode("client_id", client, "redirect_uri", target, "username", "lee", "password", "pw4lee")})
			if a.Status != 400 || !strings.Contains(a.Text, "Unable to authenticate (OAuth). Invalid client_id") || !strings.HasPrefix(a.Header.Get("Content-Type"), "text/html") {
				t.Errorf("%q: %d %s", client, a.Status, a.Text)
			}
		}
	}
	asked := encode("client_id", id(w.acme.app), "redirect_uri", target, "username", "lee", "password", "pw4lee")
	w.ok(call{Method: "PUT", Path: "/acme/shop/users/lee", Token: w.acme.owner, Body: object{"activated": false}})
	if a := w.do(call{Method: "POST", Path: "/acme/shop/authorize", Type: formType, Body: asked}); !strings.Contains(a.Text, "user not activated") {
		t.Error(a.Text)
	}
	w.ok(call{Method: "PUT", Path: "/acme/shop/users/lee", Token: w.acme.owner, Body: object{"activated": true, "disabled": true}})
	if a := w.do(call{Method: "POST", Path: "/acme/shop/authorize", Type: formType, Body: asked}); !strings.Contains(a.Text, "user disabled") {
		t.Error(a.Text)
	}
}

// A browser's form carries what its page gave it, or is shown again.
func TestFormsOfBrowsers(t *testing.T) {
	w := newWorld(t)
	asked := encode("client_id", "x", "redirect_uri", "https://app.example/cb", "username", "acmeowner", "password", password)
	post := func(header map[string]string, more string) answer {
		return w.do(call{Method: "POST", Path: "/management/authorize", Type: formType, Body: asked + more, Header: header})
	}
	if a := post(map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}, ""); a.Status != 200 || a.Header.Get("Location") != "" {
		t.Errorf("%d %v", a.Status, a.Header)
	}
	same := map[string]string{"Sec-Fetch-Site": "same-origin", "Origin": w.URL}
	if a := post(same, ""); a.Status != 200 {
		t.Errorf("%d %v", a.Status, a.Header)
	}
	form := w.ok(call{Path: "/management/authorize?" + asked})
	cookie, _, _ := strings.Cut(form.Header.Get("Set-Cookie"), ";")
	token := regexp.MustCompile(`name="` + pages.FormField + `" value="([^"]+)"`).FindStringSubmatch(form.Text)
	if len(token) != 2 || cookie == "" {
		t.Fatalf("%v %s", form.Header, form.Text)
	}
	same["Cookie"] = cookie
	if a := post(same, "&"+encode(pages.FormField, token[1])); a.Status != 302 {
		t.Errorf("%d %s", a.Status, a.Text)
	}
	if a := post(same, "&"+encode(pages.FormField, token[1]+"x")); a.Status != 200 {
		t.Errorf("%d %s", a.Status, a.Text)
	}
}

// Redirects may be limited, and pages lie elsewhere.
func TestRedirectsAndViews(t *testing.T) {
	allow, err := redirect.ParseAllow([]string{"app.example"})
	if err != nil {
		t.Fatal(err)
	}
	w := beginWith(t, t.TempDir(), apitest.Options{Management: func(c *management.Config) {
		c.Redirects = allow
		c.Views = map[string]string{"management.users.resetpw": "https://portal.example/reset", "management.authorize": "https://portal.example/login"}
		c.RevealAccounts, c.DeleteUnconfirmed, c.PublicRegistration = true, true, false
	}})
	w.super = w.login(apitest.SuperuserName, apitest.SuperuserPassword)
	w.refused(arg, call{Method: "POST", Path: "/management/orgs", Body: object{"organization": "acme", "email": "a@example.org", "password": password}})
	w.ok(call{Method: "POST", Path: "/management/orgs", Token: w.super, Body: object{"organization": "acme", "username": "dana", "email": "a@example.org", "password": password}})
	sign := func(target string) answer {
		return w.do(call{Method: "POST", Path: "/management/authorize", Type: formType, Body: encode("redirect_uri", target, "username", "dana", "password", password)})
	}
	if a := sign("https://app.example/x"); a.Status != 302 {
		t.Errorf("%d %s", a.Status, a.Text)
	}
	if a := sign("https://other.example/x"); a.Status != 200 {
		t.Errorf("%d %s", a.Status, a.Text)
	}
	for path, want := range map[string]string{"/management/users/resetpw": "https://portal.example/reset", "/management/authorize": "https://portal.example/login"} {
		if a := w.do(call{Path: path}); a.Status != 302 || a.Header.Get("Location") != want {
			t.Errorf("%s: %d %v", path, a.Status, a.Header)
		}
	}
	if a := w.refused(arg, call{Method: "POST", Path: "/management/users/resetpw", Body: object{"email": "nobody"}}); !strings.Contains(a.Text, "We don't recognize that email") {
		t.Error(a.Text)
	}
	dana := w.login("dana", password)
	w.refused(arg, call{Method: "DELETE", Path: "/management/orgs/acme/apps/sandbox?confirm_application_id=x", Token: dana})
	w.ok(call{Method: "DELETE", Path: "/management/orgs/acme/apps/sandbox", Token: dana})
}

// The challenge of the form is asked of people, and of programs if that is configured.
func TestChallenge(t *testing.T) {
	arithmetic, err := challenge.NewArithmetic(challenge.DefaultConfig([32]byte{1}))
	if err != nil {
		t.Fatal(err)
	}
	for _, programs := range []bool{false, true} {
		w := beginWith(t, t.TempDir(), apitest.Options{Challenge: arithmetic, Management: func(c *management.Config) { c.AskPrograms = programs }})
		w.ok(call{Method: "POST", Path: "/management/users", Body: object{"username": "kim", "email": "kim@example.org", "password": password}})
		form := w.ok(call{Path: "/management/users/resetpw"})
		if !strings.Contains(form.Text, challenge.ChallengeField) {
			t.Fatal(form.Text)
		}
		wrong := w.ok(call{Method: "POST", Path: "/management/users/resetpw", Type: formType, Body: "email=kim", Header: map[string]string{"Accept": "*/*"}})
		if !strings.Contains(wrong.Text, "Incorrect Captcha") {
			t.Error(wrong.Text)
		}
		json := call{Method: "POST", Path: "/management/users/resetpw", Body: object{"email": "kim"}}
		if programs {
			w.refused(arg, json)
		} else {
			w.ok(json)
			w.Mails.Take(t, "admin-password-reset", "kim@example.org")
		}
		if n := len(w.Mails.All()); n != 0 {
			t.Errorf("%d mails", n)
		}
	}
}
