package management_test

import (
	"context"
	"testing"

	"github.com/trellisdb/trellis/api/apitest"
	"github.com/trellisdb/trellis/api/directory"
	"github.com/trellisdb/trellis/api/management"
	"github.com/trellisdb/trellis/storage/fault"
)

// facebook vouches for whom the token names.
func facebook(_ context.Context, token string) (directory.Vouched, error) {
	people := map[string]directory.Vouched{
		"of-ann":      {ID: "100", Name: "Ann", Email: "ann@example.test", Picture: "https://example.test/ann.png", Profile: []byte(`{"id":"100","ID":"x","likes":[1,null,{"a":1e400}]}`)},
		"of-bob":      {ID: "200", Name: "Bob", Email: "ann@example.test", Profile: []byte(`{"id":"200"}`)},
		"of-mallory":  {ID: "300", Profile: []byte(`{"id":"300"}`)},
		"of-nobody":   {ID: "400", Profile: []byte(`[]`)},
		"of-disabled": {ID: "500", Profile: []byte(`{"id":"500"}`)},
	}
	switch p, ok := people[token]; {
	case ok:
		return p, nil
	case token == "down":
		return directory.Vouched{}, fault.New(fault.InvalidRequest, "")
	}
	return directory.Vouched{}, fault.New(fault.InvalidRequest, "invalid access token")
}

func TestSignInWithAnotherService(t *testing.T) {
	w := beginWith(t, t.TempDir(), apitest.Options{Services: []management.Service{
		{Name: "facebook", Parameter: "fb_access_token", Prefix: "fb_", Check: facebook}, {Name: "foursquare", Parameter: "fq_access_token", Prefix: "fq_"},
	}})
	w.super = w.login(apitest.SuperuserName, apitest.SuperuserPassword)
	w.acme = w.newOrg("acme")
	const path = "/acme/sandbox/auth/facebook"
	by := func(token string) answer { return w.do(call{Path: path + "?fb_access_token=" + token}) }

	ann := by("of-ann")
	if ann.Status != 200 || len(ann.Str("access_token")) != 63 || ann.Str("user", "username") != "fb_100" || ann.Str("user", "email") != "ann@example.test" ||
		ann.Str("user", "picture") != "https://example.test/ann.png" || ann.Get("user", "facebook", "id") == nil {
		t.Fatalf("%d %s", ann.Status, ann.Text)
	}
	w.usable(ann.Str("access_token"), "/acme/sandbox/users/me")
	again := w.do(call{Method: "POST", Path: path, Type: "application/x-www-form-urlencoded", Body: "fb_access_token=of-ann&ttl=5000"})
	if again.Status != 200 || again.Str("user", "uuid") != ann.Str("user", "uuid") || again.Get("expires_in") != 5.0 {
		t.Errorf("a second time: %d %s", again.Status, again.Text)
	}
	if bob := by("of-bob"); bob.Status != 200 || bob.Str("user", "username") != "fb_200" || bob.Get("user", "email") != nil {
		t.Errorf("whose address another user has: %d %s", bob.Status, bob.Text)
	}
	// Who takes the username before the person comes does not get to be him.
	w.ok(call{Method: "POST", Path: "/acme/sandbox/users", Body: object{"username": "fb_300", "password": "pw4mallory", "facebook": object{"id": "300"}}})
	w.ok(call{Method: "PUT", Path: "/acme/sandbox/users/fb_300", Body: object{"facebook": object{"id": "300"}}})
	if a := by("of-mallory"); a.Status != 400 || a.Str("error") != "invalid_request" || a.Str("access_token") != "" {
		t.Errorf("a user who chose the username: %d %s", a.Status, a.Text)
	}
	w.ok(call{Path: path + "?fb_access_token=of-disabled"})
	w.ok(call{Method: "PUT", Path: "/acme/sandbox/users/fb_500", Token: w.acme.owner, Body: object{"disabled": true}})
	for token, want := range map[string]string{
		"":            `{"error":"invalid_request","error_description":"missing access token"}`,
		"rubbish":     `{"error":"invalid_request","error_description":"invalid access token"}`,
		"of-nobody":   `{"error":"invalid_request","error_description":"invalid user"}`,
		"down":        `{"error":"invalid_request"}`,
		"of-disabled": `{"error":"invalid_grant","error_description":"user disabled"}`,
	} {
		if a := by(token); a.Status != 400 || a.Text != want {
			t.Errorf("%q: %d %s", token, a.Status, a.Text)
		}
	}
	if a := w.do(call{Path: "/acme/sandbox/auth/foursquare?fq_access_token=x"}); a.Status != 400 || a.Str("error") != "invalid_request" {
		t.Errorf("a service that is not configured: %d %s", a.Status, a.Text)
	}
	if a := by("of-ann&ttl=derp"); a.Status != 400 || a.Str("error") != "illegal_argument" {
		t.Errorf("%d %s", a.Status, a.Text)
	}
}
