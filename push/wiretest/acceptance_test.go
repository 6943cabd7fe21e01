package wiretest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/trellisdb/trellis/push"
)

// people are users with two devices each, two of them in a group, and a device of nobody;
// all are registered with the noop notifier "fake". It returns the devices' names by UUID.
func (w *world) people() map[string]string {
	w.Helper()
	names := map[string]string{}
	w.ok("POST", "/notifiers", `{"name":"fake","provider":"noop"}`)
	w.ok("POST", "/groups", `{"path":"team/red"}`)
	for _, user := range []string{"ana", "bo", "cy"} {
		w.ok("POST", "/users", fmt.Sprintf(`{"username":%q,"email":"%s@example.test","city":"c-%s"}`, user, user, user))
		for i := range 2 {
			name := fmt.Sprintf("%s%d", user, i)
			a := w.ok("POST", "/users/"+user+"/devices", fmt.Sprintf(`{"name":%q,"n":%d,"fake.notifier.id":"t"}`, name, i))
			names[uuidOf(a)] = name
		}
	}
	a := w.ok("POST", "/devices", `{"name":"lone","location":{"latitude":37.5,"longitude":-122.2},"fake.notifier.id":"t"}`)
	names[uuidOf(a)] = "lone"
	w.ok("POST", "/groups/team/red/users/ana", "")
	w.ok("POST", "/groups/team/red/users/bo", "")
	return names
}

// reached are the names of the devices of which a notification has receipts, each as often
// as it has.
func (w *world) reached(id string, names map[string]string) string {
	w.Helper()
	var list []string
	for _, r := range w.receipts(id) {
		list = append(list, names[fmt.Sprint(r["deviceId"])])
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

// acceptance13_1 sends to each target of section 3.1; TestTargets of api/collections
// has all its spellings.
func acceptance13_1(t *testing.T, w *world) {
	names := w.people()
	const everyone, users, team = "ana0 ana1 bo0 bo1 cy0 cy1 lone", "ana0 ana1 bo0 bo1 cy0 cy1", "ana0 ana1 bo0 bo1"
	uuid := map[string]string{}
	for _, path := range []string{"/users/ana", "/groups/team/red", "/devices/ana0"} {
		uuid[path] = uuidOf(w.ok("GET", path, ""))
	}
	type sent struct{ path, id, want string }
	var all []sent
	for _, tc := range []struct{ path, want string }{
		{"/notifications", ""},
		{"/notifications?ql=n=1", ""},
		{"/devices/*/notifications", everyone},
		{"/devices/all/notifications", everyone},
		{"/devices/notifications", everyone},
		{"/devices;ql=/notifications", everyone},
		{"/devices/ana0/notifications", "ana0"},
		{"/devices/" + uuid["/devices/ana0"] + "/notifications", "ana0"},
		{"/devices;ql=location%20within%20500%20of%2037.5,-122.2/notifications", "lone"},
		{"/devices;ql=n=1;limit=1;cursor=x/notifications", "ana1 bo1 cy1"},
		{"/devices?ql=location+within+500+of+37.5,-122.2", "lone"},
		{"/users/ana/notifications", "ana0 ana1"},
		{"/users/" + uuid["/users/ana"] + "/notifications", "ana0 ana1"},
		{"/users/ana@example.test/notifications", "ana0 ana1"},
		{"/users/*/notifications", users},
		{"/users;ql=select%20*%20where%20username%20=%20'bo'/notifications", "bo0 bo1"},
		{"/users/ana/devices/ana1/notifications", "ana1"},
		{"/users/ana/devices/*/notifications", "ana0 ana1"},
		{"/users/ana/devices;ql=n=0/notifications", "ana0"},
		{"/groups/team/red/notifications", team},
		{"/groups/" + uuid["/groups/team/red"] + "/notifications", team},
		{"/groups/*/notifications", team},
		{"/groups;ql=path='team%2Fred'/notifications", team},
		{"/groups/team/red/users/ana/notifications", "ana0 ana1"},
		{"/groups/team/red/users/*/notifications", team},
		{"/groups/team/red/users;ql=username='bo'/notifications", "bo0 bo1"},
		{"/groups/team/red/users/bo/devices/bo1/notifications", "bo1"},
		{"/groups/*/users/*/devices/*/notifications", team},
	} {
		a := w.ok("POST", tc.path, `{"payloads":{"fake":"x"},"debug":true}`)
		all = append(all, sent{tc.path, uuidOf(a), tc.want})
	}
	for _, s := range all {
		t.Run("13.1 "+s.path, func(t *testing.T) {
			n := w.ended(s.id)
			count := len(strings.Fields(s.want))
			if got, want := summary(n), fmt.Sprintf("FINISHED %d 0 %d", count, count); got != want || fmt.Sprint(n["expectedCount"]) != fmt.Sprint(count) {
				t.Errorf("ended %s, want %s; %v", got, want, n)
			}
			if got := w.reached(s.id, names); got != s.want {
				t.Errorf("reached %s, want %s", got, s.want)
			}
		})
	}
}

func acceptance13_2(t *testing.T, w *world) {
	w.people()
	const body = `{"payloads":{"fake":"x"}}`
	t.Run("13.2 nobody", func(*testing.T) {
		w.wantEnd(uuidOf(w.ok("POST", "/notifications", body)), "FINISHED 0 0 0")
		w.wantEnd(uuidOf(w.ok("POST", "/devices;ql=n=7/notifications", body)), "FINISHED 0 0 0")
	})
	t.Run("13.2 unknown", func(t *testing.T) {
		for _, path := range []string{"/devices/nothing", "/devices/2f9c0a4e-8b0c-11ee-b9d1-0242ac120002", "/users/nobody", "/groups/none", "/users/ana/devices/bo0"} {
			if a := w.do("POST", path+"/notifications", body); a.Status != 404 {
				t.Errorf("%s: %d %s", path, a.Status, a.Body)
			}
		}
	})
}

// TestAcceptance13_4 schedules, restarts the server, schedules anew, cancels and deletes.
func TestAcceptance13_4(t *testing.T) {
	w := newWorld(t, options{})
	w.people()
	deliver := time.Now().Add(2 * time.Second).UnixMilli()
	schedule := func(deliver int64) string {
		t.Helper()
		a := w.ok("POST", "/devices/*/notifications", fmt.Sprintf(`{"payloads":{"fake":"x"},"deliver":%d}`, deliver))
		if e := a.Entity(); e["state"] != "SCHEDULED" || e["scheduled"] != true || e["started"] != nil || fmt.Sprint(e["deliver"]) != fmt.Sprint(deliver) {
			t.Errorf("scheduled %v", e)
		}
		return uuidOf(a)
	}
	const later = 4_000_000_000_000
	soon, moved, canceled, deleted := schedule(deliver), schedule(later), schedule(later), schedule(later)
	t.Run("13.4 survives a restart", func(t *testing.T) {
		w.restart()
		if n := w.ok("GET", "/notifications/"+moved, "").Entity(); n["state"] != "SCHEDULED" {
			t.Errorf("after the restart: %v", n)
		}
		n := w.wantEnd(soon, "FINISHED 7 0 7")
		if started := fmt.Sprint(n["started"]); started < fmt.Sprint(deliver) {
			t.Errorf("started at %s, to be delivered at %d", started, deliver)
		}
	})
	t.Run("13.4 scheduled anew", func(*testing.T) {
		w.ok("PUT", "/notifications/"+moved, `{"deliver":null}`)
		w.wantEnd(moved, "FINISHED 7 0 7")
	})
	t.Run("13.4 cancelled", func(*testing.T) {
		w.ok("PUT", "/notifications/"+canceled, `{"canceled":true}`)
		w.wantEnd(canceled, "CANCELED 0 0 0")
	})
	t.Run("13.4 deleted", func(*testing.T) {
		w.ok("DELETE", "/notifications/"+deleted, "")
		w.fails("GET", "/notifications/"+deleted, "", 404, "entity_not_found", "")
	})
}

func acceptance13_5(t *testing.T, w *world) {
	w.people()
	t.Run("13.5 seconds and milliseconds", func(t *testing.T) {
		for _, unit := range []string{"", "000"} {
			e := w.ok("POST", "/devices/*/notifications", fmt.Sprintf(`{"payloads":{"fake":"x"},"deliver":4000000000%s,"expired":4100000000%s}`, unit, unit)).Entity()
			if fmt.Sprintf("%v %v %v", e["deliver"], e["expire"], e["state"]) != "4000000000000 4100000000000 SCHEDULED" {
				t.Errorf("stored %v", e)
			}
		}
	})
	t.Run("13.5 expired", func(*testing.T) {
		n := w.notify("/devices/*", `{"fake":"x"}`, `,"expire":1000000000`)
		w.eventually("it has expired", func() bool {
			e := w.ok("GET", "/notifications/"+n, "").Entity()
			return summary(e) == "EXPIRED 0 0 0" && len(w.receipts(n)) == 0
		})
	})
}

// acceptance13_6 reads receipts and queues in all spellings of section 7.2.
func acceptance13_6(t *testing.T, w *world) {
	names := w.people()
	device := w.device("bad", "fake", quoted("fail:Odd"))
	names[device] = "bad"
	w.device("mute", "other", quoted("t"))
	send := func(more string) string { return w.notify("/devices/*", `{"fake":"x"}`, more) }
	quiet := uuidOf(w.ok("POST", "/devices/*/notifications", `{"payloads":{"fake":"x"}}`))
	loud, none := send(""), send(`,"saveReceipts":false`)
	const everyone = "ana0 ana1 bad bo0 bo1 cy0 cy1 lone"
	for id, want := range map[string]string{quiet: "bad", loud: everyone, none: ""} {
		w.wantEnd(id, "FINISHED 7 1 8")
		if got := w.reached(id, names); got != want {
			t.Errorf("13.6 receipts of %s, want %s", got, want)
		}
	}
	r := w.ok("GET", "/receipts?ql=notificationUUID="+quiet, "").Entity()
	if r["errorCode"] != "Odd" || r["sent"] != nil || r["notifierId"] != "fail:Odd" || r["notificationUUID"] != quiet || r["deviceId"] != device || r["type"] != "receipt" {
		t.Errorf("13.6 receipt %v", r)
	}
	id := fmt.Sprint(r["uuid"])
	for path, want := range map[string]int{
		"/receipts": 9, "/receipt": 9, "/receipts/" + id: 1, "/receipt/" + id: 1,
		"/receipts?ql=notificationUUID=" + loud:          8,
		"/notifications/" + loud + "/receipts":           8,
		"/notification/" + loud + "/receipt":             8,
		"/notifications/*/receipts":                      9,
		"/notifications/all/receipts":                    9,
		"/notifications;ql=state='FINISHED'/receipts":    9,
		"/" + loud + "/*/receipts":                       8,
		"/" + loud + "/receipts":                         8,
		"/devices/bad/receipts":                          2,
		"/devices/" + device + "/receipts":               2,
		"/devices/*/receipts":                            9,
		"/" + device + "/*/receipts":                     2,
		"/" + device + "/receipts":                       2,
		"/users/ana/devices/ana0/receipts":               1,
		"/users/ana/devices/*/receipts":                  2,
		"/receipts/" + id + "/notifications":             1,
		"/receipts/" + id + "/notification":              1,
		"/receipts/*/notifications":                      2,
		"/receipts/*/notification":                       2,
		"/" + id + "/*/notifications":                    1,
		"/" + id + "/notifications":                      1,
		"/notifications/" + loud + "/queue":              0,
		"/notifications/*/queue":                         0,
		"/" + loud + "/*/queue":                          0,
		"/" + loud + "/queue":                            0,
		"/devices/bad/notifications":                     2,
		"/users/ana/notifications":                       0,
		"/notifications/" + loud + "/receipts?ql=sent>0": 7,
	} {
		if a := w.ok("GET", path+map[bool]string{true: "&", false: "?"}[strings.Contains(path, "?")]+"limit=100", ""); len(a.Entities()) != want {
			t.Errorf("13.6 %s: %d entities, want %d", path, len(a.Entities()), want)
		}
	}
	t.Run("13.6 queue before", func(t *testing.T) {
		late := uuidOf(w.ok("POST", "/devices/*/notifications", `{"payloads":{"fake":"x"},"deliver":4000000000}`))
		for _, path := range []string{"/notifications/" + late + "/queue", "/notifications/*/queue", "/" + late + "/*/queue", "/" + late + "/queue"} {
			var list []string
			for _, e := range w.ok("GET", path+"?limit=100", "").Entities() {
				list = append(list, fmt.Sprint(e["name"]))
			}
			slices.Sort(list)
			if got := strings.Join(list, " "); got != everyone {
				t.Errorf("%s: %s, want %s", path, got, everyone)
			}
		}
	})
	t.Run("13.6 receipts are deleted, not written", func(*testing.T) {
		w.fails("POST", "/receipts", `{"name":"x"}`, 405, "unsupported_service_operation", "")
		w.fails("PUT", "/receipts/"+id, `{"name":"x"}`, 405, "unsupported_service_operation", "")
		w.ok("DELETE", "/receipts/"+id, "")
		w.fails("GET", "/receipts/"+id, "", 404, "entity_not_found", "")
		w.ok("DELETE", "/notifications/"+loud, "")
		w.eventually("the receipts go with their notification", func() bool {
			return len(w.ok("GET", "/receipts?limit=100", "").Entities()) == 0
		})
	})
}

func acceptance13_7(t *testing.T, w *world) {
	w.notifier(w.services.GoogleBody(t, "droid"))
	w.notifier(w.services.AppleBody(t, "ios"))
	t.Run("13.7 two notifiers, one device", func(t *testing.T) {
		w.ok("PUT", "/devices/both", `{"ios.notifier.id":"`+hexOf("both")+`","droid.notifier.id":"both"}`)
		for payloads, notifier := range map[string]string{`{"droid":"x","ios":"x"}`: "droid", `{"ios":"x","droid":"x"}`: "ios", `{"ios":null,"droid":"x"}`: "droid"} {
			id := w.notify("/devices/both", payloads, "")
			w.wantEnd(id, finished)
			if r := w.receipt(id); r["notifier"] != notifier {
				t.Errorf("%s: %v", payloads, r)
			}
		}
		if w.services.FCM.Count("both") != 2 || w.services.APNs.Count(hexOf("both")) != 1 {
			t.Errorf("sent %v, %v", w.services.FCM.Counts(), w.services.APNs.Counts())
		}
	})
	t.Run("13.7 two notifiers, two devices", func(*testing.T) {
		w.device("one", "ios", quoted(hexOf("one")))
		w.device("two", "droid", quoted("two"))
		w.wantEnd(w.notify("/devices;ql=name='one'%20or%20name='two'", `{"ios":"x","droid":"x"}`, ""), "FINISHED 2 0 2")
	})
}

func TestAcceptance13_14(t *testing.T) {
	w := newWorld(t, options{engine: func(c *push.Config) { c.InFlight["noop"] = 5 }})
	w.ok("POST", "/notifiers", `{"name":"fake","provider":"noop"}`)
	w.devices(300, "d", "fake", func(string) string { return quoted("slow:50") })
	id := w.notify("/devices/*", `{"fake":"x"}`, "")
	w.eventually("some are sent", func() bool { return len(w.receipts(id)) > 3 })
	t.Run("13.14 while it is sent", func(*testing.T) {
		for _, body := range []string{`{"deliver":4000000000}`, `{"payloads":{"fake":"y"}}`, `{"canceled":false}`, `{"restart":"restart"}`, `{"expire":null}`} {
			w.fails("PUT", "/notifications/"+id, body, 403, "forbidden_service_operation", "")
		}
		w.fails("DELETE", "/notifications/"+id, "", 403, "forbidden_service_operation", "cancel")
	})
	if a := w.ok("PUT", "/notifications/"+id, `{"canceled":true}`).Entity(); a["state"] != "CANCELED" {
		t.Errorf("cancelled %v", a)
	}
	n := w.ended(id)
	sent := len(w.receipts(id))
	t.Run("13.14 consistent", func(t *testing.T) {
		statistics, _ := n["statistics"].(map[string]any)
		if n["state"] != "CANCELED" || fmt.Sprint(statistics["sent"]) != fmt.Sprint(sent) || fmt.Sprint(statistics["errors"]) != "0" || sent == 0 || sent >= 300 {
			t.Errorf("ended %v with %d receipts", n, sent)
		}
		if got := len(w.ok("GET", "/notifications/"+id+"/queue?limit=1000", "").Entities()); got != 0 {
			t.Errorf("%d devices in the queue", got)
		}
		w.fails("PUT", "/notifications/"+id, `{"deliver":4000000000}`, 403, "forbidden_service_operation", "")
	})
	t.Run("13.14 restarted", func(*testing.T) {
		w.ok("PUT", "/notifications/"+id, `{"restart":"restart"}`)
		w.eventually("it goes again", func() bool { return len(w.receipts(id)) > sent })
		w.ok("PUT", "/notifications/"+id, `{"canceled":true}`)
		w.ended(id)
	})
	// What is open when it expires, or its notifier is deleted (section 8).
	for _, end := range []struct {
		code, words string
		how         func(id string)
	}{
		{"0", "expired", func(id string) {
			w.ok("PUT", "/notifications/"+id, fmt.Sprintf(`{"expire":%d}`, time.Now().UnixMilli()))
		}},
		{"NotifierDeleted", "deleted", func(string) { w.ok("DELETE", "/notifiers/fake", "") }},
	} {
		t.Run("13.14 ended with "+end.code, func(t *testing.T) {
			id := w.notify("/devices/*", `{"fake":"x"}`, "")
			w.eventually("some are sent", func() bool { return len(w.receipts(id)) > 3 })
			end.how(id)
			n := w.ended(id)
			codes := w.codes(id)
			if got, want := summary(n), fmt.Sprintf("FINISHED %d %d 300", codes[""], codes[end.code]); got != want || codes[end.code] == 0 || len(codes) != 2 {
				t.Errorf("ended %s, want %s; %v", got, want, codes)
			}
			for _, r := range w.receipts(id) {
				if r["errorCode"] != nil && !strings.Contains(fmt.Sprint(r["errorMessage"]), end.words) {
					t.Errorf("receipt %v", r)
					break
				}
			}
		})
	}
}

// acceptance13_16: the answer waits for no device, and what is in memory is bounded. How
// long it takes is bench's.
func acceptance13_16(t *testing.T, w *world) {
	w.ok("POST", "/notifiers", `{"name":"fake","provider":"noop"}`)
	for i := range 10 {
		w.devices(1000, fmt.Sprintf("d%d-", i), "fake", func(string) string { return quoted("t") })
	}
	a := w.ok("POST", "/devices/*/notifications", `{"payloads":{"fake":"x"}}`)
	if n := a.Entity(); n["finished"] != nil || fmt.Sprint(n["deviceProcessedCount"]) != "0" {
		t.Errorf("13.16 the answer has waited: %v", n)
	}
	t.Logf("13.16 answered in %v ms", a.Fields["duration"])
	var busy int
	w.eventually("it has ended", func() bool {
		busy = max(busy, w.Engine.Load().Stats().Busy)
		return w.ok("GET", "/notifications/"+uuidOf(a), "").Entity()["finished"] != nil
	})
	w.wantEnd(uuidOf(a), "FINISHED 10000 0 10000")
	if busy > 3000 {
		t.Errorf("13.16 %d deliveries in memory", busy)
	}
}
