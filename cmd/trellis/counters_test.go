package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// counter reads a counter of the sandbox as a whole.
func (c *trio) counter(i int, name string) int64 {
	c.t.Helper()
	a := c.ask(i, "GET", "/acme/sandbox/counters?counter="+name, "", "")
	var body struct {
		Counters []struct{ Values []struct{ Value int64 } }
	}
	if err := json.Unmarshal([]byte(a.Body), &body); err != nil || len(body.Counters) != 1 {
		c.t.Fatalf("counter %s: %v %s", name, err, a.Body)
	}
	if len(body.Counters[0].Values) == 0 {
		return 0
	}
	return body.Counters[0].Values[0].Value
}

// TestCountersThroughEveryNode: increments that are sent through all nodes, each twice
// under its key, while the node that leads is killed, count once each, and every node
// says so at once. Requests are counted by the node that serves them, and none of them is
// lost with a node that is stopped.
func TestCountersThroughEveryNode(t *testing.T) {
	c := startTrio(t)
	client := &http.Client{Timeout: 10 * time.Second}
	c.organise(client)
	const clients, each = 6, 40
	var half sync.WaitGroup
	half.Add(clients * each / 2)
	var all sync.WaitGroup
	for n := range clients {
		all.Go(func() {
			for i := range each {
				key, first := fmt.Sprintf("%d of %d", i, n), n+i
				for range 2 { // the second is a retry through another node
					first++
					if status, answer := c.send(client, first%3, key, "POST", "/acme/sandbox/events", `{"timestamp":0,"counters":{"hot.one":1}}`); status != 200 {
						t.Errorf("increment %s: %d %s", key, status, answer)
					}
				}
				if i < each/2 {
					half.Done()
				}
			}
		})
	}
	half.Wait()
	leader := c.leader(1)
	_ = c.running[leader].end(syscall.SIGKILL)
	c.start(leader)
	all.Wait()
	c.ready(leader)
	for i := range 3 {
		for _, name := range []string{"hot", "hot.one", "application.collection.events"} {
			if got := c.counter(i, name); got != clients*each {
				t.Errorf("node %d: %s is %d, want %d", i+1, name, got, clients*each)
			}
		}
	}

	var served, sent atomic.Int64
	for n := range 90 {
		req, err := http.NewRequest("PUT", fmt.Sprintf("http://%s/acme/sandbox/items/one", c.http[n%3]), strings.NewReader(fmt.Sprintf(`{"n":%d}`, n)))
		if err != nil {
			t.Fatal(err)
		}
		sent.Add(1)
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close() // only the status matters
		if res.StatusCode == http.StatusOK {
			served.Add(1)
		}
	}
	stopped := (c.leader(1) + 1) % 3
	if err := c.running[stopped].end(syscall.SIGTERM); err != nil {
		t.Errorf("stop: %v\n%s", err, c.running[stopped].out)
	}
	got := int64(0)
	for end := time.Now().Add(time.Minute); got < served.Load() && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		got = c.counter((stopped+1)%3, "application.requests.put")
	}
	if got < served.Load() || got > sent.Load() {
		t.Errorf("%d requests are counted; %d of %d were served", got, served.Load(), sent.Load())
	}
}
