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

// note is what tests read of a notification.
type note struct {
	UUID       string
	State      string
	Finished   int64
	Statistics struct{ Sent, Errors int }
	Count      int `json:"deviceProcessedCount"`
}

// notification reads a notification through a node that answers.
func (c *trio) notification(client *http.Client, first int, uuid string) note {
	c.t.Helper()
	status, answer := c.send(client, first, "", "GET", "/acme/sandbox/notifications/"+uuid, "")
	var body struct{ Entities []note }
	if err := json.Unmarshal([]byte(answer), &body); status != 200 || err != nil || len(body.Entities) != 1 {
		c.t.Fatalf("notification: %d %s", status, answer)
	}
	return body.Entities[0]
}

// TestBroadcastOutlivesItsLeaders: while a notification goes to many devices, the node
// that sends it is killed, twice. It ends, every device has been reached, and statistics
// and receipts count each once.
func TestBroadcastOutlivesItsLeaders(t *testing.T) {
	c := startTrio(t)
	client := &http.Client{Timeout: 10 * time.Second}
	must := func(key, method, path, body string) string {
		t.Helper()
		status, answer := c.send(client, 0, key, method, path, body)
		if status != 200 {
			t.Fatalf("%s %s: %d %s", method, path, status, answer)
		}
		return answer
	}
	must("org", "POST", "/management/orgs", `{"organization":"acme","username":"dana","email":"dana@example.org","password":"s3same"}`)
	must("notifier", "POST", "/acme/sandbox/notifiers", `{"name":"fake","provider":"noop"}`)
	const devices, batch = 2400, 200
	for i := 0; i < devices; i += batch {
		list := make([]string, batch)
		for j := range list {
			list[j] = fmt.Sprintf(`{"fake.notifier.id":"slow:250","n":%d}`, i+j)
		}
		must(fmt.Sprint("devices", i), "POST", "/acme/sandbox/devices", "["+strings.Join(list, ",")+"]")
	}
	answer := must("send", "POST", "/acme/sandbox/devices;ql=/notifications", `{"payloads":{"fake":"hello"},"debug":true}`)
	var sent struct{ Entities []note }
	if err := json.Unmarshal([]byte(answer), &sent); err != nil || len(sent.Entities) != 1 {
		t.Fatal(err, answer)
	}
	uuid := sent.Entities[0].UUID
	for kill := range 2 {
		for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
			n := c.notification(client, 0, uuid)
			if n.Statistics.Sent >= (kill+1)*devices/4 {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("not under way: %+v", n)
			}
		}
		leader := c.leader(1)
		_ = c.running[leader].end(syscall.SIGKILL)
		c.start(leader)
		c.ready(leader)
	}
	var n note
	for end := time.Now().Add(2 * time.Minute); n.Finished == 0 && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		n = c.notification(client, 1, uuid)
	}
	if n.State != "FINISHED" || n.Statistics.Sent != devices || n.Statistics.Errors != 0 || n.Count != devices {
		t.Errorf("it ended %+v, want %d sent", n, devices)
	}
	reached, cursor := map[string]int{}, ""
	for {
		var page struct {
			Entities []struct{ DeviceID string }
			Cursor   string
		}
		if err := json.Unmarshal([]byte(must("", "GET", "/acme/sandbox/notifications/"+uuid+"/receipts?limit=1000&cursor="+cursor, "")), &page); err != nil {
			t.Fatal(err)
		}
		for _, r := range page.Entities {
			reached[r.DeviceID]++
		}
		if cursor = page.Cursor; cursor == "" {
			break
		}
	}
	if len(reached) != devices {
		t.Errorf("receipts of %d devices, want %d", len(reached), devices)
	}
	for id, times := range reached {
		if times != 1 {
			t.Errorf("device %s has %d receipts", id, times)
		}
	}
}

// TestPushThroughAFollower makes and sends notifications through a node that leads nothing
// of the application, and reads what became of them through every node.
func TestPushThroughAFollower(t *testing.T) {
	c := startTrio(t)
	client := &http.Client{Timeout: 10 * time.Second}
	c.organise(client)
	follower := (c.leader(1) + 1) % 3
	ok := func(i int, method, path, body string) map[string]any {
		t.Helper()
		status, answer := c.send(client, i, "", method, "/acme/sandbox"+path, body)
		var said struct{ Entities []map[string]any }
		if err := json.Unmarshal([]byte(answer), &said); status != 200 || err != nil || len(said.Entities) == 0 {
			t.Fatalf("%s %s: %d %s", method, path, status, answer)
		}
		return said.Entities[0]
	}
	ok(follower, "POST", "/notifiers", `{"name":"fake","provider":"noop"}`)
	ok(follower, "POST", "/users", `{"username":"ana"}`)
	for _, token := range []string{"good", "fail:Odd", "gone:", "retry:1", "move:new"} {
		ok(follower, "POST", "/users/ana/devices", fmt.Sprintf(`{"name":%q,"fake.notifier.id":%q}`, token, token))
	}
	scheduled := ok(follower, "POST", "/users/ana/notifications", `{"payloads":{"fake":"x"},"deliver":4000000000}`)
	sent := ok(follower, "POST", "/users/ana/notifications", `{"payloads":{"fake":"hello"},"debug":true}`)
	uuid, late := fmt.Sprint(sent["uuid"]), fmt.Sprint(scheduled["uuid"])
	var n note
	for end := time.Now().Add(time.Minute); n.Finished == 0 && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		n = c.notification(client, follower, uuid)
	}
	if n.State != "FINISHED" || n.Statistics.Sent != 3 || n.Statistics.Errors != 2 || n.Count != 5 {
		t.Errorf("it ended %+v", n)
	}
	ok(follower, "PUT", "/notifications/"+late, `{"canceled":true}`)
	for i := range 3 {
		if n := c.notification(client, i, uuid); n.State != "FINISHED" || n.Statistics.Sent != 3 {
			t.Errorf("node %d says %+v", i+1, n)
		}
		if n := c.notification(client, i, late); n.State != "CANCELED" {
			t.Errorf("node %d says %+v", i+1, n)
		}
		for path, want := range map[string]int{"/notifications/" + uuid + "/receipts": 5, "/receipts?ql=errorCode='Odd'": 1, "/users/ana/devices/good/receipts": 1} {
			status, entities, _, err := call(client, "GET", "http://"+c.http[i]+"/acme/sandbox"+path, "")
			if status != 200 || err != nil || len(entities) != want {
				t.Errorf("node %d, %s: %d %v %v", i+1, path, status, entities, err)
			}
		}
	}
	for name, token := range map[string]any{"gone:": nil, "move:new": "new", "good": "good"} {
		if got := ok(follower, "GET", "/devices/"+name, "")["fake.notifier.id"]; got != token {
			t.Errorf("%s holds %v, want %v", name, got, token)
		}
	}
}
