package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestFanOutSurvivesItsLeaders: what is posted to many while the node that leads is killed,
// again and again, is in the end in every feed once, in its order, and each node says so.
func TestFanOutSurvivesItsLeaders(t *testing.T) {
	c := startTrio(t)
	client := &http.Client{Timeout: 10 * time.Second}
	ok := func(key, method, path, body string) string {
		t.Helper()
		status, answer := c.send(client, len(key)%3, key, method, path, body)
		if status != 200 {
			t.Fatalf("%s %s: %d %s", method, path, status, answer)
		}
		return answer
	}
	ok("org", "POST", "/management/orgs", `{"organization":"acme","username":"dana","email":"dana@example.org","password":"s3same"}`)
	const fans, posts, each = 300, 6, 40
	users := []string{`{"username":"star"}`}
	for i := range fans {
		users = append(users, fmt.Sprintf(`{"username":"fan%d"}`, i))
	}
	ok("users", "POST", "/acme/sandbox/users", "["+strings.Join(users, ",")+"]")
	for i := range fans {
		ok(fmt.Sprintf("follow %d", i), "POST", fmt.Sprintf("/acme/sandbox/users/fan%d/following/users/star", i), "{}")
	}
	var want []string
	for n := range posts {
		var batch []string
		for i := range each {
			content := fmt.Sprintf("p%d.%d", n, i)
			batch = append(batch, fmt.Sprintf(`{"verb":"post","content":%q}`, content))
			want = append([]string{content}, want...)
		}
		ok(fmt.Sprintf("post %d", n), "POST", "/acme/sandbox/users/star/activities", "["+strings.Join(batch, ",")+"]")
		if n%2 == 0 { // 12,000 entries are on their way
			leader := c.leader(1)
			_ = c.running[leader].end(syscall.SIGKILL)
			c.start(leader)
			c.ready(leader)
		}
	}
	feed := func(i int, user string) string {
		a := c.ask(i, "GET", "/acme/sandbox/users/"+user+"/feed?limit=1000", "", "")
		var body struct{ Entities []struct{ Content string } }
		if err := json.Unmarshal([]byte(a.Body), &body); err != nil || a.Status != 200 {
			t.Fatalf("feed of %s: %d %s", user, a.Status, a.Body)
		}
		var got []string
		for _, e := range body.Entities {
			got = append(got, e.Content)
		}
		return strings.Join(got, " ")
	}
	if got := feed(0, "star"); got != strings.Join(want, " ") {
		t.Errorf("the publisher has %s", got)
	}
	for i := range fans {
		user, got := fmt.Sprintf("fan%d", i), ""
		for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
			if got = feed(i%3, user); got == strings.Join(want, " ") {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("node %d: %s has %d of %d: %s", i%3+1, user, len(strings.Fields(got)), len(want), got)
			}
		}
	}
}
