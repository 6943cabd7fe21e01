package collections_test

import (
	"strings"
	"testing"
)

// TestOneByOneIsNotAllAtOnce: guests may change a device that they know, "put:/devices/*".
// No way to select all devices may come through that.
func TestOneByOneIsNotAllAtOnce(t *testing.T) {
	r := newRest(t)
	if a, err := r.Do("POST", "/management/orgs/acme/apps", r.Admin, `{"name":"shop"}`); err != nil || a.Status != 200 {
		t.Fatal(err, a.Body)
	}
	r.App = "/acme/shop"
	r.admin().ok("POST", "/devices", `[{"name":"one"},{"name":"two"}]`)
	r.ok("PUT", "/devices/one", `{"seen":1}`)
	r.ok("PUT", "/devices/one;limit=1", `{"seen":2}`) // parameters say nothing of who is meant
	for _, path := range []string{
		"/devices", "/devices?ql=", "/devices;ql=", "/devices;ql=?limit=1", "/devices/all", "/devices/*", "/devices/all?ql=", "/devices/all;limit=5",
		"/devices/%7B%22ql%22:%22%22%7D", "/devices/%7B%7D", "/devices;ql=/all", "/devices;ql=/one", "/devices/all/one",
	} {
		r.fails("PUT", path, `{"stolen":true}`, 401, "unauthorized")
		r.fails("DELETE", path, "", 401, "unauthorized")
		r.fails("GET", path, "", 401, "unauthorized")
	}
	if body := r.admin().ok("GET", "/devices", "").Body; strings.Contains(body, "stolen") || !strings.Contains(body, `"seen":2`) {
		t.Errorf("after all that: %s", body)
	}
	r.admin().ok("PUT", "/devices/all", `{"by":"admin"}`)
	if got := names(r.admin().query("/devices", "by = 'admin'")); got != "two one" {
		t.Errorf("an administrator changed %s", got)
	}
}
