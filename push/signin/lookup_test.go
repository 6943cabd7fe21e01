package signin

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// graph is a server that speaks like Facebook's Graph API. Tokens are those of
// people.
func graph(t *testing.T, people map[string]string, debug map[string]string) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v21.0/me", func(w http.ResponseWriter, r *http.Request) {
		body, ok := people[r.FormValue("access_token")]
		if !ok || !strings.Contains(r.FormValue("fields"), "id") {
			w.WriteHeader(http.StatusBadRequest)
			body = `{"error":{"message":"Invalid OAuth access token.","type":"OAuthException","code":190}}`
		}
		fmt.Fprint(w, body)
	})
	mux.HandleFunc("GET /v21.0/debug_token", func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("access_token") != "4711|s3same" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		fmt.Fprint(w, debug[r.FormValue("input_token")])
	})
	return startTLS(t, mux)
}

func facebook(t *testing.T, s *httptest.Server, edit func(*FacebookConfig)) *Lookup {
	t.Helper()
	cfg := FacebookConfig{URL: s.URL + "/v21.0", HTTP: HTTP{Timeout: time.Minute, RootCAs: trusting(s)}}
	if edit != nil {
		edit(&cfg)
	}
	p, err := NewFacebook(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

const annOfFacebook = `{"id":"1000","name":"Ann M\u00fcller\u0007","email":"ann@example.org","picture":{"data":{"url":"https://example.org/ann.png"}}}`

// TestFacebook looks tokens up.
func TestFacebook(t *testing.T) {
	people := map[string]string{
		"EAA+B/=&": annOfFacebook, "number": `{"id":1000}`, "nobody": `{"name":"Ann"}`, "null": `null`, "text": `hello`, "list": `[1]`,
		"odd": `{"id":"1 2"}`, "huge": `{"id":"1","a":"` + strings.Repeat("a", MaxProfileBytes) + `"}`,
		"wild": `{"id":"1","name":["x"],"email":"a\r\nb@c.d","picture":{"data":{"url":"javascript:alert(1)"}}}`,
	}
	p := facebook(t, graph(t, people, nil), nil)
	got, err := p.Check(t.Context(), "EAA+B/=&")
	if err != nil {
		t.Fatal(err)
	}
	if got.ID != "1000" || got.Name != "Ann Müller" || got.Email != "ann@example.org" || got.EmailVerified ||
		got.Picture != "https://example.org/ann.png" || string(got.Raw) != annOfFacebook {
		t.Errorf("%+v", got)
	}
	if got, err = p.Check(t.Context(), "number"); err != nil || got.ID != "1000" {
		t.Errorf("an id that is a number: %+v, %v", got, err)
	}
	if got, err = p.Check(t.Context(), "wild"); err != nil || got.ID != "1" || got.Name+got.Email+got.Picture != "" {
		t.Errorf("what cannot be believed: %+v, %v", got, err)
	}
	for token, want := range map[string]error{
		"unknown": ErrRefused, "": ErrRefused, "a b": ErrRefused, "a\r\nb": ErrRefused, "ä": ErrRefused, strings.Repeat("a", MaxTokenBytes+1): ErrRefused,
		"nobody": ErrUnavailable, "null": ErrUnavailable, "text": ErrUnavailable, "list": ErrUnavailable, "odd": ErrUnavailable, "huge": ErrUnavailable,
	} {
		got, err := p.Check(t.Context(), token)
		wantError(t, fmt.Sprintf("%.20q", token), got, err, want)
	}
}

// TestFacebookApplication: with an application configured, tokens of others are
// refused.
func TestFacebookApplication(t *testing.T) {
	people := map[string]string{"ours": annOfFacebook, "theirs": annOfFacebook, "over": annOfFacebook, "odd": annOfFacebook}
	s := graph(t, people, map[string]string{
		"ours":   `{"data":{"app_id":"4711","is_valid":true}}`,
		"theirs": `{"data":{"app_id":"4712","is_valid":true}}`,
		"over":   `{"data":{"app_id":"4711","is_valid":false}}`,
		"odd":    `{}`,
	})
	p := facebook(t, s, func(c *FacebookConfig) { c.AppID, c.AppSecret = "4711", "s3same" })
	for token, want := range map[string]error{"ours": nil, "theirs": ErrRefused, "over": ErrRefused, "odd": ErrUnavailable} {
		got, err := p.Check(t.Context(), token)
		wantError(t, token, got, err, want)
	}
	p = facebook(t, s, func(c *FacebookConfig) { c.AppID, c.AppSecret = "4711", "wr0ng" })
	got, err := p.Check(t.Context(), "ours")
	wantError(t, "our secret is wrong", got, err, ErrUnavailable)
	if _, err := NewFacebook(FacebookConfig{URL: s.URL, AppID: "4711", HTTP: DefaultHTTP()}); err == nil {
		t.Error("an application without secret is no error")
	}
}

// TestTokenStaysOutOfErrors: net/http puts the URL into its errors, and the token is
// in the URL.
func TestTokenStaysOutOfErrors(t *testing.T) {
	const token = "EAA+s3cret"
	elsewhere := startTLS(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("somebody asks elsewhere") }))
	answers := map[string]http.HandlerFunc{
		"hangs up": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"redirects": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL+"/?"+r.URL.RawQuery, http.StatusFound)
		},
		"redirects nowhere": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "https://a b/?"+r.URL.RawQuery)
			w.WriteHeader(http.StatusFound)
		},
		"fails": func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, r.URL.String(), http.StatusInternalServerError)
		},
		"throttles": func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, r.URL.String(), http.StatusTooManyRequests)
		},
		"is not there": func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) },
		"is a bomb": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			zeros := make([]byte, 1<<20)
			for range 64 {
				if _, err := z.Write(zeros); err != nil {
					return
				}
			}
			_ = z.Close()
		},
	}
	for name, answer := range answers {
		s := startTLS(t, answer)
		got, err := facebook(t, s, nil).Check(t.Context(), token)
		wantError(t, name, got, err, ErrUnavailable)
		for _, hidden := range []string{token, url.QueryEscape(token), "access_token"} {
			if err != nil && strings.Contains(err.Error(), hidden) {
				t.Errorf("%s: %q is in %q", name, hidden, err)
			}
		}
	}
	s := startTLS(t, answers["fails"])
	p := facebook(t, s, nil)
	s.Close()
	got, err := p.Check(t.Context(), token)
	wantError(t, "down", got, err, ErrUnavailable)
	if err != nil && strings.Contains(err.Error(), "access_token") {
		t.Errorf("down: %q", err)
	}
}

// TestServiceHangs: the caller's deadline and the time-out hold.
func TestServiceHangs(t *testing.T) {
	for name, headersFirst := range map[string]bool{"silent": false, "in the body": true} {
		s := startTLS(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if headersFirst {
				fmt.Fprint(w, `{"id":`)
				w.(http.Flusher).Flush()
			}
			<-r.Context().Done()
		}))
		got, err := facebook(t, s, func(c *FacebookConfig) { c.HTTP.Timeout = 100 * time.Millisecond }).Check(t.Context(), "EAAB")
		wantError(t, name+": the time-out", got, err, ErrUnavailable)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		got, err = facebook(t, s, nil).Check(ctx, "EAAB")
		cancel()
		wantError(t, name+": the deadline", got, err, ErrUnavailable)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v does not tell the deadline", name, err)
		}
	}
}

// TestNoProxy: what the environment says of proxies does not send tokens there.
func TestNoProxy(t *testing.T) {
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the proxy is asked") }))
	defer proxy.Close()
	for _, name := range []string{"HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"} {
		t.Setenv(name, proxy.URL)
	}
	p := facebook(t, graph(t, map[string]string{"EAAB": annOfFacebook}, nil), nil)
	if c, ok := p.client.http.Transport.(bounded); !ok || c.Proxy != nil {
		t.Error("the transport has a proxy") // net/http uses none for loopback, so a request alone proves nothing
	}
	if _, err := p.Check(t.Context(), "EAAB"); err != nil {
		t.Error(err)
	}
}

// TestFoursquare looks a token up.
func TestFoursquare(t *testing.T) {
	const user = `{"id":"77","firstName":"Ann","lastName":"Müller","contact":{"email":"ann@example.org"},"photo":{"prefix":"https://example.org/","suffix":"/ann.png"}}`
	s := startTLS(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path != "/v2/users/self" || len(r.FormValue("v")) != 8:
			w.WriteHeader(http.StatusNotFound)
		case r.FormValue("oauth_token") == "FSQ":
			fmt.Fprint(w, `{"meta":{"code":200},"response":{"user":`+user+`}}`)
		case r.FormValue("oauth_token") == "none":
			fmt.Fprint(w, `{"meta":{"code":200},"response":null}`)
		default:
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	p, err := NewFoursquare(FoursquareConfig{URL: s.URL, HTTP: HTTP{Timeout: time.Minute, RootCAs: trusting(s)}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	got, err := p.Check(t.Context(), "FSQ")
	if err != nil || got.ID != "77" || got.Name != "Ann Müller" || got.Email != "ann@example.org" || got.Picture != "https://example.org/original/ann.png" || string(got.Raw) != user {
		t.Errorf("%+v, %v", got, err)
	}
	for token, want := range map[string]error{"unknown": ErrRefused, "none": ErrUnavailable} {
		got, err := p.Check(t.Context(), token)
		wantError(t, token, got, err, want)
	}
}

// TestUserInfo looks a token up that goes into the header.
func TestUserInfo(t *testing.T) {
	s := startTLS(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery != "" || r.Header.Get("Authorization") != "Bearer PING" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, `{"sub":"ann","preferred_username":"ann","email":"ann@example.org","email_verified":false}`)
	}))
	p, err := NewUserInfo(UserInfoConfig{URL: s.URL + "/idp/userinfo.openid", HTTP: HTTP{Timeout: time.Minute, RootCAs: trusting(s)}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	got, err := p.Check(t.Context(), "PING")
	if err != nil || got.ID != "ann" || got.Username != "ann" || got.EmailVerified {
		t.Errorf("%+v, %v", got, err)
	}
	got, err = p.Check(t.Context(), "PONG")
	wantError(t, "unknown", got, err, ErrRefused)
}

// TestServiceURLs tells which URLs a service may have.
func TestServiceURLs(t *testing.T) {
	for text, good := range map[string]bool{
		"https://graph.facebook.com/v21.0": true, "http://127.0.0.1:8080": true, "http://localhost/x": true, "http://[::1]:1/": true,
		"http://graph.facebook.com": false, "http://127.0.0.1.example.org": false, "http://169.254.169.254/": false,
		"": false, "graph.facebook.com": false, "https:": false, "file:///etc/passwd": false, "https://a@b.c": false, "https://b.c/#d": false, "https://b.c:x/": false,
	} {
		if _, err := NewFacebook(FacebookConfig{URL: text, HTTP: DefaultHTTP()}); (err == nil) != good {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// FuzzProfile states that whatever a service answers is a profile that keeps its
// bounds, or ErrUnavailable.
func FuzzProfile(f *testing.F) {
	for _, body := range []string{annOfFacebook, `{"sub":"1"}`, `{"response":{"user":{"id":"1"}}}`, `null`, ``, `{"id":{}}`, `{"id":"\ud800"}`, `{"sub":"1","email":7}`} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, read := range []func([]byte) (Profile, error){standard, readFacebook, readFoursquare} {
			p, err := read(body)
			if err != nil {
				wantError(t, "error", p, err, ErrUnavailable)
				continue
			}
			if !wellFormed(p.ID) || len(p.ID) > 255 || len(p.Name) > 256 || len(p.Username) > 256 || len(p.Email) > 254 || len(p.Picture) > 2048 {
				t.Errorf("%+v", p)
			}
			if strings.ContainsAny(p.Name+p.Username+p.Email+p.Picture, "\r\n\x00") || p.Raw[0] != '{' {
				t.Errorf("%+v", p)
			}
		}
	})
}
