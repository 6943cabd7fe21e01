package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/trellisdb/trellis/api/apitest"
)

// ask makes a request of a node as the bearer of a token, again while there is no quorum.
func (c *trio) ask(i int, method, path, token, body string) apitest.Answer {
	c.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		req, err := http.NewRequest(method, "http://"+c.http[i]+path, strings.NewReader(body))
		if err != nil {
			c.t.Fatal(err)
		}
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			c.t.Fatal(err)
		}
		text, err := io.ReadAll(res.Body)
		_ = res.Body.Close() // read whole
		if err != nil {
			c.t.Fatal(err)
		}
		if res.StatusCode != http.StatusServiceUnavailable || time.Now().After(end) {
			return apitest.NewAnswer(res.StatusCode, res.Header, text)
		}
	}
}

// A change of roles, permissions or members that one node has acknowledged counts for the
// next request, whichever node that goes to.
func TestRightsThroughEveryNode(t *testing.T) {
	c := startTrio(t)
	c.organise(http.DefaultClient)
	login := func(path, body string) string {
		t.Helper()
		a := c.ask(1, "POST", path, "", body)
		token, _ := a.Fields["access_token"].(string)
		if token == "" {
			t.Fatalf("%s: %d %s", path, a.Status, a.Body)
		}
		return token
	}
	admin := login("/management/token", `{"grant_type":"password","username":"dana","password":"s3same"}`)
	do := func(i int, method, path, body string) {
		t.Helper()
		if a := c.ask(i, method, "/acme/shop"+path, admin, body); a.Status != 200 {
			t.Fatalf("%s %s: %d %s", method, path, a.Status, a.Body)
		}
	}
	if a := c.ask(0, "POST", "/management/orgs/acme/apps", admin, `{"name":"shop"}`); a.Status != 200 {
		t.Fatalf("create application: %d %s", a.Status, a.Body)
	}
	do(0, "POST", "/users", `{"username":"ana","password":"sunny-day-1"}`)
	do(1, "DELETE", "/roles/default", "")
	do(2, "POST", "/groups", `{"path":"readers"}`)
	do(0, "POST", "/roles", `{"name":"reader"}`)
	ana := login("/acme/shop/token", `{"grant_type":"password","username":"ana","password":"sunny-day-1"}`)
	changes := []struct {
		method, path, body string
		may                bool
	}{
		{"POST", "/users/ana/permissions", `{"permission":"get:/items"}`, true}, {"DELETE", "/users/ana/permissions?permission=get:/items", "", false},
		{"POST", "/roles/reader/permissions", `{"permission":"get:/items"}`, false}, {"POST", "/roles/reader/users/ana", "", true},
		{"DELETE", "/users/ana/roles/reader", "", false}, {"POST", "/groups/readers/users/ana", "", false}, {"POST", "/roles/reader/groups/readers", "", true},
		{"DELETE", "/groups/readers/users/ana", "", false}, {"POST", "/users/ana/groups/readers", "", true}, {"DELETE", "/roles/reader", "", false},
	}
	for round := range 3 {
		for i, change := range changes {
			do((round+i)%3, change.method, change.path, change.body)
			for after := range 3 { // the other nodes first
				a := c.ask((round+i+1+after)%3, "GET", "/acme/shop/items", ana, "")
				if want := map[bool]int{true: 200, false: 401}[change.may]; a.Status != want {
					t.Errorf("round %d: after %s %s: %d, want %d: %s", round, change.method, change.path, a.Status, want, a.Body)
				}
			}
		}
		do(round, "POST", "/roles", `{"name":"reader"}`)
		do(round, "DELETE", "/groups/readers", "")
		do(round, "POST", "/groups", fmt.Sprintf(`{"path":"readers","round":%d}`, round))
	}
}
