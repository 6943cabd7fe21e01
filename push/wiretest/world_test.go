package wiretest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/trellisdb/trellis/api/apitest"
	"github.com/trellisdb/trellis/push"
	"github.com/trellisdb/trellis/push/provider"
	"github.com/trellisdb/trellis/push/providers"
	"github.com/trellisdb/trellis/push/providertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, apitest.Leaks()...) }

// world is a server whose engine sends to the services beside it.
type world struct {
	*testing.T
	*apitest.Server
	App      string // path of the application
	services *providertest.Services
	dir      string
	opts     apitest.Options
}

// options change what a world is made of.
type options struct {
	services func(*providertest.Services, *provider.Config)
	engine   func(*push.Config)
	log      io.Writer // takes the log; nil: errors go to standard error
}

// newWorld starts the services, and a server that waits for them less long than it would
// outside: the lengths of waits are what tests of single packages are about.
func newWorld(t *testing.T, o options) *world {
	t.Helper()
	t.Parallel()
	w := &world{T: t, services: providertest.Start(t)}
	pc := w.services.Config()
	pc.Timeout = 5 * time.Second
	if o.services != nil {
		o.services(w.services, &pc)
	}
	set, err := providers.New(pc)
	if err != nil {
		t.Fatal(err)
	}
	w.dir, w.opts = t.TempDir(), apitest.Options{Log: o.log, Engine: func(c *push.Config) {
		c.Providers, c.Gather, c.Watch, c.RetryCap, c.Pause = set, 5*time.Millisecond, 20*time.Millisecond, 20*time.Millisecond, 20*time.Millisecond
		c.CloseWithin = 100 * time.Millisecond
		if o.engine != nil {
			o.engine(c)
		}
	}}
	if w.Server, err = apitest.OpenWith(w.dir, w.opts); err != nil {
		t.Fatal(err)
	}
	w.App = w.Server.App
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Errorf("close server: %v", err)
		}
	})
	return w
}

// application is the world in the eyes of another test, with an application of its own.
func (w *world) application(t *testing.T, name string) *world {
	t.Helper()
	own := *w
	own.T, own.App = t, "/acme/"+name
	if a, err := w.Do("POST", "/management/orgs/acme/apps", w.Admin, fmt.Sprintf(`{"name":%q}`, name)); err != nil || a.Status != http.StatusOK {
		t.Fatalf("create an application: %v %s", err, a.Body)
	}
	return &own
}

// TestAcceptance is what shares a server and services: the acceptance checks of section 13,
// by number, and what belongs to them. Devices have names of their own at the services.
// The rest of the checks needs servers that are set up otherwise, or that nobody else
// speaks to: TestAcceptance13_4, 13_9, 13_11,
// 13_13Private, 13_14 and 13_15.
func TestAcceptance(t *testing.T) {
	w := newWorld(t, options{})
	for _, c := range []struct {
		name  string
		check func(*testing.T, *world)
	}{
		{"13.1 targets", acceptance13_1},
		{"13.2 nobody", acceptance13_2},
		{"13.3 validation", acceptance13_3},
		{"13.5 units of time", acceptance13_5},
		{"13.6 receipts and queues", acceptance13_6},
		{"13.7 one message a device", acceptance13_7},
		{"13.8 payloads of apple", acceptance13_8},
		{"13.10 dead tokens", acceptance13_10},
		{"13.10 codes of APNs", codesOfAPNs},
		{"13.11 codes of FCM", codesOfFCM},
		{"13.11 codes of GCM", codesOfGCM},
		{"13.11 legacy batches", legacyBatches},
		{"13.12 windows", acceptance13_12},
		{"13.12 codes of WNS", codesOfWNS},
		{"13.13 web push", acceptance13_13},
		{"13.13 codes of web push", codesOfWebPush},
		{"13.13 dead subscriptions", deadSubscriptions},
		{"13.16 a large broadcast", acceptance13_16},
		{"Retry-After", retryAfterIsHonoured},
		{"12 verbatim calls", verbatimCalls},
		{"5 states", lastingStates},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.check(t, w.application(t, strings.ReplaceAll(strings.ReplaceAll(c.name, " ", "-"), ".", "-")))
		})
	}
}

// restart ends the server and starts it again on what it has left.
func (w *world) restart() {
	w.Helper()
	if err := w.Close(); err != nil {
		w.Fatal(err)
	}
	var err error
	if w.Server, err = apitest.OpenWith(w.dir, w.opts); err != nil {
		w.Fatal(err)
	}
}

// do makes a request below the sandbox, as its owner, whatever comes of it.
func (w *world) do(method, path, body string) apitest.Answer {
	w.Helper()
	a, err := w.Do(method, w.App+path, w.Admin, body)
	if err != nil {
		w.Fatal(err)
	}
	return a
}

// ok makes a request that must succeed.
func (w *world) ok(method, path, body string) apitest.Answer {
	w.Helper()
	a := w.do(method, path, body)
	if a.Status != http.StatusOK || a.Code() != "" {
		w.Fatalf("%s %s %.300s: %d %s", method, path, body, a.Status, a.Body)
	}
	return a
}

// fails makes a request that must be refused like this, and with words of this.
func (w *world) fails(method, path, body string, status int, code, words string) {
	w.Helper()
	a := w.do(method, path, body)
	if a.Status != status || a.Code() != code || !strings.Contains(fmt.Sprint(a.Fields["error_description"]), words) {
		w.Errorf("%s %s %.300s: %d %s, want %d %s with %q", method, path, body, a.Status, a.Body, status, code, words)
	}
}

func marshal(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// notifier creates one, and returns it as it was answered.
func (w *world) notifier(body map[string]any) map[string]any {
	w.Helper()
	return w.ok("POST", "/notifiers", marshal(w.T, body)).Entity()
}

// device registers a device of a name for a notifier; token is JSON.
func (w *world) device(name, notifier, token string) string {
	w.Helper()
	return uuidOf(w.ok("PUT", "/devices/"+name, fmt.Sprintf(`{%q:%s}`, notifier+".notifier.id", token)))
}

// quoted is a token that is a string.
func quoted(token string) string { return fmt.Sprintf("%q", token) }

func uuidOf(a apitest.Answer) string { return fmt.Sprint(a.Entity()["uuid"]) }

// eventually waits for a fact.
func (w *world) eventually(what string, ok func() bool) {
	w.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	w.Fatalf("not so after a long time: %s", what)
}

// notify sends a notification to a target, as one does who wants all receipts.
func (w *world) notify(target, payloads, more string) string {
	w.Helper()
	return uuidOf(w.ok("POST", target+"/notifications", `{"payloads":`+payloads+`,"debug":true`+more+`}`))
}

// ended waits until a notification has ended, and returns it.
func (w *world) ended(id string) (n map[string]any) {
	w.Helper()
	w.eventually("notification "+id+" has ended", func() bool {
		n = w.ok("GET", "/notifications/"+id, "").Entity()
		return n["finished"] != nil
	})
	return n
}

// summary is state, sent, errors and devices of a notification.
func summary(n map[string]any) string {
	s, _ := n["statistics"].(map[string]any)
	return fmt.Sprint(n["state"], " ", s["sent"], " ", s["errors"], " ", n["deviceProcessedCount"])
}

// wantEnd waits until a notification has ended and fails unless so.
func (w *world) wantEnd(id, want string) map[string]any {
	w.Helper()
	n := w.ended(id)
	if got := summary(n); got != want {
		w.Errorf("notification ended %s, want %s; %v", got, want, n["errorMessage"])
	}
	return n
}

// receipts are those of a notification.
func (w *world) receipts(id string) []map[string]any {
	w.Helper()
	return w.ok("GET", "/notifications/"+id+"/receipts?limit=1000", "").Entities()
}

// receipt is the only one of a notification.
func (w *world) receipt(id string) map[string]any {
	w.Helper()
	list := w.receipts(id)
	if len(list) != 1 {
		w.Fatalf("%d receipts of notification %s, want 1: %v", len(list), id, list)
	}
	return list[0]
}

// holds tells whether a device is registered for a notifier.
func (w *world) holds(device, notifier string) bool {
	w.Helper()
	return w.ok("GET", "/devices/"+device, "").Entity()[notifier+".notifier.id"] != nil
}
