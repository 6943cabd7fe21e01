package redirect

import (
	"net/url"
	"strings"
	"testing"

	"github.com/trellisdb/trellis/storage/fault"
)

func TestTargetsThatAreTaken(t *testing.T) {
	for uri, name := range map[string]string{
		"https://app.example.org/callback":     "app.example.org",
		"HTTP://App.Example.org:8080/cb?x=1&":  "app.example.org",
		"http://[::1]:3000":                    "::1",
		"com.example.app:/oauth":               "com.example.app",
		"myapp://callback":                     "myapp",
		"myapp:callback":                       "myapp",
		"https://example.org/a%0d%0ab":         "example.org",
		"https://xn--bcher-kva.example/?q=%23": "xn--bcher-kva.example",
	} {
		target, err := Parse(uri, Allow{})
		if err != nil || target.Name() != name {
			t.Errorf("%s: %q, %v, want %q", uri, target.Name(), err, name)
		}
	}
}

func TestTargetsThatAreRefused(t *testing.T) {
	for _, uri := range []string{
		"", " ", "/callback", "//example.org/", "example.org", "callback?x=1",
		"javascript:alert(1)", "JavaScript:alert(1)", "java\nscript:alert(1)", " javascript:alert(1)", "\x01javascript:alert(1)",
		"data:text/html,x", "vbscript:x", "file:///etc/passwd", "blob:https://example.org/x", "about:blank",
		"view-source:https://example.org", "filesystem:http://example.org/", "intent://scan/#Intent;end",
		"https:", "https://", "https:///path", "https:example.org", "https://:443/", "myapp:",
		"https://example.org/\r\nSet-Cookie: a=b", "https://example.org/a b", "https://example.org/\x00",
		"https://good.example\\@evil.example/", "https://good.example\\.evil.example/", "https:\\\\evil.example",
		"https://good.example@evil.example/", "https://user:pw@example.org/",
		"https://example.org/#fragment", "https://example.org/#", "https://bücher.example/",
		"https://example.org/%zz", "https://exa%mple.org/", "https://example.org:port/",
		"https://example.org/\"><script>", "1http://x", ":x",
		"https://example.org/" + strings.Repeat("a", maxLength),
	} {
		if target, err := Parse(uri, Allow{}); !fault.Is(err, fault.IllegalArgument) || target != (Target{}) {
			t.Errorf("%q is taken: %+v, %v", uri, target, err)
		}
	}
}

func TestAddresses(t *testing.T) {
	for _, tc := range []struct{ uri, code, state, want string }{
		{"https://a.example/cb", "YWMt1", "s", "https://a.example/cb?code=YWMt1&state=s"},
		{"https://a.example/cb?x=1", "YWMt1", "s", "https://a.example/cb?x=1&code=YWMt1&state=s"},
		{"https://a.example/cb?", "YWMt1", "", "https://a.example/cb?code=YWMt1"},
		{"https://a.example/cb?x=1&", "YWMt1", " \t", "https://a.example/cb?x=1&code=YWMt1"},
		{"https://a.example", "a-_b", "a b&c=d#\r\nX: é+%", "https://a.example?code=a-_b&state=a%20b%26c%3Dd%23%0D%0AX%3A%20%C3%A9%2B%25"},
		{"myapp://cb", "c", "s", "myapp://cb?code=c&state=s"},
		{"myapp:cb", "c", "s", "myapp:cb?code=c&state=s"},
	} {
		target, err := Parse(tc.uri, Allow{})
		if err != nil {
			t.Fatal(err)
		}
		if got := target.Code(tc.code, tc.state); got != tc.want {
			t.Errorf("%s:\n got %s\nwant %s", tc.uri, got, tc.want)
		}
	}
	target, err := Parse("https://a.example/cb?x=1", Allow{})
	if err != nil {
		t.Fatal(err)
	}
	if got := target.Token("YWMt1", 604800, "a b"); got != "https://a.example/cb?x=1#access_token=YWMt1&expires_in=604800&state=a%20b" {
		t.Errorf("token: %s", got)
	}
	if got := target.Token("YWMt1", 0, ""); got != "https://a.example/cb?x=1#access_token=YWMt1&expires_in=0" {
		t.Errorf("token without state: %s", got)
	}
}

func TestAllow(t *testing.T) {
	allow, err := ParseAllow([]string{"App.example.org", "localhost:3000", "myapp:", "https://example.org/app/", "other://cb", "secure.example:443"})
	if err != nil {
		t.Fatal(err)
	}
	for uri, want := range map[string]bool{
		"https://app.example.org/any?x=1":         true,
		"http://app.example.org:80/":              true,
		"https://app.example.org:443":             true,
		"https://app.example.org:8443/":           false,
		"https://app.example.org.evil.example/":   false,
		"https://evil.example/app.example.org":    false,
		"https://sub.app.example.org/":            false,
		"ftpx://app.example.org/":                 false,
		"http://localhost:3000/cb":                true,
		"http://localhost:3001/cb":                false,
		"http://localhost/cb":                     false,
		"myapp:anything":                          true,
		"myapp://any/thing":                       true,
		"myapps:anything":                         false,
		"https://example.org/app":                 true,
		"https://EXAMPLE.org:443/app/x?y":         true,
		"https://example.org/apple":               false,
		"https://example.org/":                    false,
		"http://example.org/app":                  false,
		"https://example.org/app/../admin":        false,
		"https://example.org/app/%2e%2e/admin":    false,
		"https://example.org/app/.%2E/admin":      false,
		"https://example.org/app%2f..%2fadmin":    false,
		"https://example.org/app/x..y":            true,
		"other://cb":                              true,
		"other://cb/more":                         true,
		"https://secure.example/":                 true,
		"https://secure.example:443/":             true,
		"http://secure.example/":                  false,
		"other://cbx":                             false,
		"https://app.example.org%2eevil.example/": false,
	} {
		if _, err := Parse(uri, allow); (err == nil) != want {
			t.Errorf("%s: %v, want allowed %v", uri, err, want)
		}
	}
	for _, entry := range []string{"", "javascript:", "a b", "example.org/path", "https://", "https://u@example.org", "https://example.org/../x", "https://example.org/?q"} {
		if _, err := ParseAllow([]string{entry}); err == nil {
			t.Errorf("entry %q is taken", entry)
		}
	}
}

func FuzzTarget(f *testing.F) {
	f.Add("https://a.example/cb?x=1", "YWMt1", "a b")
	f.Add("myapp:cb", "\r\n", "&code=2#")
	f.Add("javascript:alert(1)", "", "")
	f.Add("https://a\\@b/", "x", "\x00")
	f.Fuzz(func(t *testing.T, uri, code, state string) {
		target, err := Parse(uri, Allow{})
		if err != nil {
			if !fault.Is(err, fault.IllegalArgument) {
				t.Fatalf("%q: %v", uri, err)
			}
			return
		}
		before, err := url.Parse(uri)
		if err != nil {
			t.Fatal(err)
		}
		for _, address := range []string{target.Code(code, state), target.Token(code, 1, state)} {
			if strings.ContainsFunc(address, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
				t.Fatalf("%q holds what no header may", address)
			}
			after, err := url.Parse(address)
			if err != nil {
				t.Fatalf("%q: %v", address, err)
			}
			if after.Scheme != before.Scheme || after.Host != before.Host || after.Path != before.Path || after.Opaque != before.Opaque {
				t.Fatalf("%q leads elsewhere than %q", address, uri)
			}
			if strings.HasPrefix(strings.ToLower(address), "javascript:") || strings.HasPrefix(strings.ToLower(address), "data:") {
				t.Fatalf("%q is run", address)
			}
		}
		allow, err := ParseAllow([]string{before.Scheme + ":"})
		if err != nil {
			t.Fatalf("scheme of %q: %v", uri, err)
		}
		if _, err := Parse(uri, allow); err != nil {
			t.Fatalf("%q is not of its own scheme: %v", uri, err)
		}
	})
}
