package wiretest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/trellisdb/trellis/push"
	"github.com/trellisdb/trellis/push/provider"
	"github.com/trellisdb/trellis/push/providertest"
)

// hang is no answer at all.
var hang = answer{Hang: true}

// devices registers so many devices, named by a prefix and a number, and returns the
// names.
func (w *world) devices(n int, prefix, notifier string, token func(name string) string) (list []string) {
	w.Helper()
	var bodies []string
	for i := range n {
		name := fmt.Sprintf("%s%03d", prefix, i)
		list = append(list, name)
		bodies = append(bodies, fmt.Sprintf(`{"name":%q,"group":%q,%q:%s}`, name, prefix, notifier+".notifier.id", token(name)))
	}
	w.ok("POST", "/devices", "["+strings.Join(bodies, ",")+"]")
	return list
}

// everyOf is the target of all devices of a prefix.
func everyOf(prefix string) string { return "/devices;ql=group='" + prefix + "'" }

// codes are how many receipts of a notification have which errorCode.
func (w *world) codes(id string) map[string]int {
	w.Helper()
	n := map[string]int{}
	for _, r := range w.receipts(id) {
		code := ""
		if r["errorCode"] != nil {
			code = fmt.Sprint(r["errorCode"])
		}
		n[code]++
	}
	return n
}

// TestAServiceThatHangs delays nobody but its own notifier: no other notifier, be it of
// the same service, and no request.
func TestAServiceThatHangs(t *testing.T) {
	w := newWorld(t, options{
		services: func(_ *providertest.Services, c *provider.Config) { c.Timeout = time.Minute },
		engine: func(c *push.Config) {
			c.InFlight[provider.Apple], c.NodeInFlight = 8, 4
			c.Verify = push.VerifyOff
		},
	})
	body := w.services.AppleBody(t, "stuck")
	w.notifier(body)
	body["name"] = "ios"
	w.notifier(body)
	w.notifier(w.services.GoogleBody(t, "droid"))
	stuck := w.devices(20, "stuck", "stuck", func(name string) string { return quoted(hexOf(name)) })
	for _, name := range stuck {
		w.services.APNs.Always(hexOf(name), hang)
	}
	w.devices(20, "ios", "ios", func(name string) string { return quoted(hexOf(name)) })
	w.devices(20, "droid", "droid", quoted)
	hanging := w.notify(everyOf("stuck"), `{"stuck":"x"}`, "")
	w.eventually("the service hangs", func() bool { return w.services.APNs.Total() > 2 })
	ios, droid := w.notify(everyOf("ios"), `{"ios":"x"}`, ""), w.notify(everyOf("droid"), `{"droid":"x"}`, "")
	w.wantEnd(ios, "FINISHED 20 0 20")
	w.wantEnd(droid, "FINISHED 20 0 20")
	if n := w.ok("GET", "/notifications/"+hanging, "").Entity(); n["state"] != "STARTED" {
		t.Errorf("the one that hangs: %v", n)
	}
	if got := len(w.ok("GET", "/notifications/"+hanging+"/queue?limit=100", "").Entities()); got != 20 {
		t.Errorf("%d devices in the queue", got)
	}
	// What is in flight holds no more than its own notifier's places; more of the same wait.
	if got := w.services.APNs.Counts(); func() bool {
		n := 0
		for _, name := range stuck {
			n += got[hexOf(name)]
		}
		return n > 8
	}() {
		t.Errorf("more in flight than allowed: %v", got)
	}
}

// TestAServiceThatHangsTimesOut, and a notification of which nothing could be sent has
// failed.
func TestAServiceThatHangsTimesOut(t *testing.T) {
	w := newWorld(t, options{services: func(_ *providertest.Services, c *provider.Config) { c.Timeout = 50 * time.Millisecond }})
	w.notifier(w.services.WebPushBody("web"))
	w.device("d", "web", w.services.WebPush.Subscribe("d", ""))
	w.services.WebPush.Always("d", hang)
	n := w.wantEnd(w.notify("/devices/d", `{"web":"x"}`, ""), failed)
	r := w.receipt(fmt.Sprint(n["uuid"]))
	if r["errorCode"] != "Timeout" || fmt.Sprint(r["attempts"]) != "5" || !strings.Contains(fmt.Sprint(n["errorMessage"]), "Timeout") {
		t.Errorf("%v; %v", n, r)
	}
}

// TestAServiceThatDies in the middle of a broadcast: what it took is sent, the rest fails
// in the end, and each delivery counts once.
func TestAServiceThatDies(t *testing.T) {
	w := newWorld(t, options{engine: func(c *push.Config) { c.InFlight[provider.Google] = 4 }})
	w.notifier(w.services.GoogleBody(t, "droid"))
	list := w.devices(60, "d", "droid", quoted)
	for _, name := range list[30:] { // devices are found the oldest or the newest first
		w.services.FCM.On(name, answer{Delay: 20 * time.Millisecond})
	}
	id := w.notify(everyOf("d"), `{"droid":"x"}`, "")
	w.eventually("some are sent", func() bool { return w.services.FCM.Total() > 10 })
	w.services.FCM.Die()
	n := w.ended(id)
	codes := w.codes(id)
	if got, want := summary(n), fmt.Sprintf("FINISHED %d %d 60", codes[""], codes["Unreachable"]); got != want || codes[""] == 0 || codes["Unreachable"] == 0 {
		t.Errorf("ended %s, want %s; %v", got, want, codes)
	}
	for _, name := range list {
		if !w.holds(name, "droid") {
			t.Errorf("%s has lost its token", name)
		}
	}
}

// retryAfterIsHonoured: no request comes before the time that the service asked for.
func retryAfterIsHonoured(t *testing.T, w *world) {
	later := answer{Header: map[string][]string{"Retry-After": {"1"}}}
	with := func(status int, reason string) answer {
		a := later
		a.Status, a.Reason = status, reason
		return a
	}
	w.notifier(w.services.GoogleBody(t, "droid"))
	w.notifier(w.services.LegacyBody("old"))
	w.notifier(w.services.WindowsBody("win"))
	w.notifier(w.services.WebPushBody("web"))
	w.notifier(w.services.AppleBody(t, "ios"))
	type one struct {
		device, notifier, token, scripted string
		on                                func(string, ...answer)
		requests                          func() []providertest.Request
		answer                            answer
	}
	s := w.services
	all := []one{
		{"droid", "droid", quoted("droid"), "droid", s.FCM.On, s.FCM.Requests, with(429, "QUOTA_EXCEEDED")},
		{"droid2", "droid", quoted("droid2"), "droid2", s.FCM.On, s.FCM.Requests, with(503, "UNAVAILABLE")},
		{"old", "old", quoted("old"), "old", s.GCM.On, s.GCM.Requests, with(503, "")},
		{"win", "win", quoted(s.WNS.Channel("win")), "win", s.WNS.On, s.WNS.Requests, with(406, "")},
		{"web", "web", s.WebPush.Subscribe("web", ""), "web", s.WebPush.On, s.WebPush.Requests, with(429, "")},
		{"ios", "ios", quoted(hexOf("ios")), hexOf("ios"), s.APNs.On, s.APNs.Requests, with(503, "ServiceUnavailable")},
	}
	ids := make([]string, len(all))
	for i, o := range all {
		o.on(o.scripted, o.answer)
		w.device(o.device, o.notifier, o.token)
		ids[i] = w.notify("/devices/"+o.device, fmt.Sprintf(`{%q:"x"}`, o.notifier), "")
	}
	for i, o := range all {
		w.wantEnd(ids[i], finished)
		var at []time.Time
		for _, r := range o.requests() {
			if r.Device == o.scripted {
				at = append(at, r.At)
			}
		}
		if len(at) != 2 || at[1].Sub(at[0]) < time.Second {
			t.Errorf("%s: requests at %v", o.device, at)
		}
		if r := w.receipt(ids[i]); fmt.Sprint(r["attempts"]) != "2" {
			t.Errorf("%s: %v", o.device, r)
		}
	}
}

// TestSlowDown: a service that finds a notifier too fast gets nothing of it for a while.
func TestSlowDown(t *testing.T) {
	w := newWorld(t, options{engine: func(c *push.Config) { c.InFlight[provider.Google] = 1 }})
	w.notifier(w.services.GoogleBody(t, "droid"))
	for _, name := range w.devices(10, "d", "droid", quoted) {
		if name == "d004" {
			w.services.FCM.On(name, once(429, "QUOTA_EXCEEDED")...)
		}
	}
	w.wantEnd(w.notify(everyOf("d"), `{"droid":"x"}`, ""), "FINISHED 10 0 10")
	var last time.Time
	requests := w.services.FCM.Requests()
	for i, r := range requests {
		if r.Device == "d004" {
			last = r.At
			if i+1 < len(requests) && requests[i+1].At.Sub(r.At) < time.Second {
				t.Errorf("the next request after %s", requests[i+1].At.Sub(r.At))
			}
			break
		}
	}
	if last.IsZero() || w.services.FCM.Count("d004") != 2 {
		t.Errorf("%d requests for the device", w.services.FCM.Count("d004"))
	}
}

// TestRefusedCredentials pause the notifier, and its change ends the pause.
func TestRefusedCredentials(t *testing.T) {
	w := newWorld(t, options{engine: func(c *push.Config) { c.Pause = time.Hour }})
	good := w.services.AppleBody(t, "ios")
	bad := map[string]any{}
	for k, v := range good {
		bad[k] = v
	}
	bad["authKey"], _ = providertest.AuthKey(t) // which APNs does not know
	if n := w.notifier(bad); n["verified"] != false || !strings.Contains(fmt.Sprint(n["verifyMessage"]), "InvalidProviderToken") {
		t.Errorf("notifier %v", n)
	}
	w.devices(30, "d", "ios", func(name string) string { return quoted(hexOf(name)) })
	id := w.notify(everyOf("d"), `{"ios":"x"}`, "")
	w.eventually("APNs has refused it", func() bool { return w.services.APNs.Total() > 2 })
	if n := w.ok("GET", "/notifications/"+id, "").Entity(); n["state"] != "STARTED" {
		t.Errorf("notification %v", n)
	}
	if n := w.ok("PUT", "/notifiers/ios", marshal(t, map[string]any{"authKey": good["authKey"]})).Entity(); n["verified"] != true || n["verifyMessage"] != nil {
		t.Errorf("notifier %v", n)
	}
	w.wantEnd(id, "FINISHED 30 0 30")
}

// legacyBatches: many devices in a request, each with its own result.
func legacyBatches(t *testing.T, w *world) {
	w.notifier(w.services.LegacyBody("old"))
	list := w.devices(200, "d", "old", func(name string) string {
		if name == "d199" {
			return quoted("d198") // the app was installed anew
		}
		return quoted(name)
	})
	w.services.GCM.On("d000", once(0, "NotRegistered")...)
	w.services.GCM.On("d001", once(0, "InvalidRegistration")...)
	w.services.GCM.On("d002", answer{Canonical: "new-of-d002"})
	w.services.GCM.On("d003", once(0, "Unavailable")...)
	w.services.GCM.On("d004", once(0, "MessageTooBig")...)
	id := w.notify(everyOf("d"), `{"old":{"k":"v","time_to_live":60}}`, `,"priority":"high"`)
	w.wantEnd(id, "FINISHED 197 3 200")
	if got, want := fmt.Sprint(w.codes(id)), "map[:197 InvalidRegistration:1 MessageTooBig:1 NotRegistered:1]"; got != want {
		t.Errorf("codes %s, want %s", got, want)
	}
	for name, token := range map[string]any{"d000": nil, "d001": nil, "d002": "new-of-d002", "d003": "d003", "d004": "d004", "d199": "d198"} {
		if got := w.ok("GET", "/devices/"+name, "").Entity()["old.notifier.id"]; got != token {
			t.Errorf("%s holds %v, want %v", name, got, token)
		}
	}
	bodies := map[string]bool{}
	for _, r := range w.services.GCM.Requests() {
		bodies[string(r.Body)] = true
	}
	if len(bodies) > len(list)/10 {
		t.Errorf("%d requests of %d devices", len(bodies), len(list))
	}
	for _, part := range []string{`"data":{"k":"v"}`, `"time_to_live":60`, `"priority":"high"`} {
		if body := string(w.services.GCM.Last("d005").Body); !strings.Contains(body, part) {
			t.Errorf("no %s in %s", part, body)
		}
	}
	// The canonical token is the one that is used from then on.
	w.wantEnd(w.notify("/devices/d002", `{"old":"x"}`, ""), finished)
	if w.services.GCM.Count("new-of-d002") != 1 || w.services.GCM.Count("d002") != 1 {
		t.Errorf("sent to %v", w.services.GCM.Counts())
	}
	w.services.GCM.On("d005", answer{Status: 503, Header: map[string][]string{"Retry-After": {"0"}}}) // to all of a request
	w.wantEnd(w.notify(everyOf("d"), `{"old":"x"}`, ""), "FINISHED 198 0 198")
}

// deadSubscriptions: a dead subscription goes from each device
// that holds it, whoever was written to.
func deadSubscriptions(t *testing.T, w *world) {
	web := w.notifier(w.services.WebPushBody("web"))
	text := w.services.WebPush.Subscribe("browser", fmt.Sprint(web["vapidPublicKey"]))
	spellings := map[string]string{
		"object": text,
		"text":   quoted(text),
		"spaced": quoted(strings.ReplaceAll(text, ",", " ,\n ")),
		"slash":  quoted(strings.ReplaceAll(text, "/", `\/`)),
	}
	names := []string{}
	for name, value := range spellings {
		w.device(name, "web", value)
		names = append(names, name)
	}
	w.device("byid", fmt.Sprint(web["uuid"]), quoted(text))
	w.device("alive", "web", quoted(w.services.WebPush.Subscribe("alive", "")))
	for _, name := range names { // each can be written to
		w.wantEnd(w.notify("/devices/"+name, `{"web":"x"}`, ""), finished)
	}
	w.services.WebPush.On("browser", once(410, "")...)
	w.wantEnd(w.notify("/devices/object", `{"web":"x"}`, ""), failing)
	for _, name := range append(names, "alive", "byid") {
		notifier := "web"
		if name == "byid" {
			notifier = fmt.Sprint(web["uuid"])
		}
		if w.holds(name, notifier) != (name == "alive") {
			t.Errorf("%s is registered: %v", name, w.holds(name, notifier))
		}
	}
}
