package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
)

// TestSignInWithFacebook starts a server that is told of a service, and signs in with a
// token of it.
func TestSignInWithFacebook(t *testing.T) {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/me" || r.FormValue("access_token") != "tok3n" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		_, _ = io.WriteString(w, `{"id":"4711","name":"Ann Example"}`)
	}))
	t.Cleanup(service.Close)
	p := launch(t, t.TempDir(), "TRELLIS_SUPERUSER_PASSWORD=pw4super", "TRELLIS_FACEBOOK_URL="+service.URL)
	res, err := http.PostForm(p.url+"/management/orgs", url.Values{"organization": {"acme"}, "email": {"dana@example.test"}, "password": {"pw4dana"}})
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	ask := func(token string) (status int, user string) {
		res, err := http.Get(p.url + "/acme/sandbox/auth/facebook?fb_access_token=" + token)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }() // read-only
		var a struct {
			User struct {
				Username string `json:"username"`
			} `json:"user"`
		}
		if err := json.NewDecoder(res.Body).Decode(&a); err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, a.User.Username
	}
	for token, want := range map[string]string{"tok3n": "200 fb_4711", "other": "400 ", "": "400 "} {
		if status, user := ask(token); fmt.Sprint(status, " ", user) != want {
			t.Errorf("%q: %d %s, want %s\n%s", token, status, user, want, p.out)
		}
	}
}
