package wiretest

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/trellisdb/trellis/push/providertest"
)

// verbatimCalls makes the calls of section 12 as the clients make them.
func verbatimCalls(t *testing.T, w *world) {
	names := w.people()
	uuid := func(path string) string { return uuidOf(w.ok("GET", path, "")) }

	t.Run("portal, send to all", func(*testing.T) {
		w.wantEnd(uuidOf(w.ok("POST", "/devices;ql=/notifications", `{"payloads":{"fake":"text"},"debug":true}`)), "FINISHED 7 0 7")
	})
	t.Run("portal, selected", func(t *testing.T) {
		for path, want := range map[string]string{"/devices/ana0": "ana0", "/users/bo": "bo0 bo1", "/groups/team/red": "ana0 ana1 bo0 bo1"} {
			collection := strings.Split(path, "/")[1]
			id := uuidOf(w.ok("POST", "/"+collection+"/"+uuid(path)+"/notifications", `{"payloads":{"fake":"text"},"debug":true}`))
			w.ended(id)
			if got := w.reached(id, names); got != want {
				t.Errorf("%s reached %s, want %s", path, got, want)
			}
		}
	})
	t.Run("portal, history", func(t *testing.T) {
		late := uuidOf(w.ok("POST", "/devices;ql=/notifications", `{"payloads":{"fake":"text"},"deliver":4000000000}`))
		w.ok("PUT", "/notifications/"+late, `{"canceled":true}`)
		w.ended(late)
		for state, count := range map[string]int{"CANCELED": 1, "FINISHED": 4, "STARTED": 0} {
			a := w.ok("GET", "/notifications?ql="+url.QueryEscape("select * where state = '"+state+"' order by created desc"), "")
			if len(a.Entities()) != count {
				t.Errorf("%s: %s", state, a.Body)
			}
			for _, n := range a.Entities() {
				statistics, _ := n["statistics"].(map[string]any)
				if n["state"] != state || n["created"] == nil || n["expectedCount"] == nil || statistics["sent"] == nil || statistics["errors"] == nil || state == "FINISHED" && n["started"] == nil {
					t.Errorf("%s: %v", state, n)
				}
			}
		}
	})
	t.Run("portal, receipts", func(t *testing.T) {
		w.device("odd", "fake", quoted("fail:Odd"))
		id := uuidOf(w.ok("POST", "/devices/odd/notifications", `{"payloads":{"fake":"text"},"debug":true}`))
		w.ended(id)
		for _, ql := range []string{"notificationUUID=" + id, "notificationUUID=" + id + " order by created desc"} {
			list := w.ok("GET", "/receipts?ql="+url.QueryEscape(ql), "").Entities()
			if len(list) != 1 || list[0]["created"] == nil || list[0]["payload"] == nil || list[0]["errorCode"] != "Odd" || list[0]["errorMessage"] == nil || list[0]["sent"] != nil {
				t.Errorf("%s: %v", ql, list)
			}
		}
	})
	t.Run("portal, notifiers", func(t *testing.T) {
		w.notifier(w.services.LegacyBody("google"))
		w.notifier(w.services.WindowsBody("windows"))
		file, leaf := providertest.P12(t, providertest.Certificate{UserID: "test.example.shop"})
		w.services.APNs.AddCertificate(leaf)
		if a := w.form("POST", "/notifiers", "name=apple", "provider=apple", "environment=development", "certificatePassword=", "p12Certificate@push.p12="+string(file)); a.Status != http.StatusOK {
			t.Errorf("form: %d %s", a.Status, a.Body)
		}
		if a := w.form("POST", "/notifiers", "name=broken", "provider=apple", "environment=development", "certificatePassword=x", "p12Certificate@push.p12="+string(file)); a.Status != 400 || !strings.Contains(fmt.Sprint(a.Fields["error_description"]), "certificatePassword") {
			t.Errorf("form: %d %s", a.Status, a.Body)
		}
		if list := w.ok("GET", "/notifiers?limit=100&ql="+url.QueryEscape("select * order by created"), "").Entities(); len(list) != 4 {
			t.Errorf("notifiers %v", list)
		}
	})
	t.Run("iOS client", func(t *testing.T) {
		const id = "2f9c0a4e-8b0c-11ee-b9d1-0242ac120002"
		a := w.ok("PUT", "/device/"+id, `{"type":"device","uuid":"`+id+`","fake.notifier.id":"ab12"}`)
		if a.Entity()["uuid"] != id || a.Entity()["fake.notifier.id"] != "ab12" {
			t.Errorf("device %s", a.Body)
		}
		w.ok("POST", "/users/cy/devices/"+id, "")
		for _, path := range []string{"devices/" + id, "users/cy/devices/*"} {
			n := uuidOf(w.ok("POST", "/"+path+"/notifications", `{"type":"`+path+`/notifications","payloads":{"fake":"text"},"debug":true}`))
			if e := w.ended(n); e["type"] != "notification" || e["state"] != "FINISHED" {
				t.Errorf("%s: %v", path, e)
			}
		}
	})
	t.Run("integration suite", func(t *testing.T) {
		a := w.ok("PUT", "/notifiers/gcm", `{"name":"gcm","provider":"google","environment":"environment","apiKey":"legacy-server-key"}`)
		if a.Entity()["name"] != "gcm" || a.Entity()["environment"] != "environment" || a.Entity()["apiKey"] != nil {
			t.Errorf("notifier %s", a.Body)
		}
		w.ok("PUT", "/devices/ana0", `{"gcm.notifier.id":"token-of-ana0"}`)
		for path, want := range map[string]string{
			"/users/ana/notifications": "ana0",
			"/users;ql=select%20*%20where%20username%20=%20'ana'/notifications": "ana0",
			"/users;ql=select+*+where+username+=+'ana'/notifications":           "ana0",
			"/groups/team/red/notifications":                                    "ana0",
		} {
			id := uuidOf(w.ok("POST", path, `{"payloads":{"gcm":"hello"},"debug":true,"priority":"high","queued":1,"started":2}`))
			w.wantEnd(id, finished)
			if got := w.reached(id, names); got != want {
				t.Errorf("%s reached %s, want %s", path, got, want)
			}
			if body := string(w.services.GCM.Last("token-of-ana0").Body); !strings.Contains(body, `"priority":"high"`) || !strings.Contains(body, `"data":{"data":"hello"}`) {
				t.Errorf("sent %s", body)
			}
		}
	})
}

// lastingStates brings notifications into each state of section 5 that lasts, and finds them
// by it. What may be done in which is in TestNotificationRules of api/collections.
func lastingStates(t *testing.T, w *world) {
	w.people()
	w.ok("POST", "/notifiers", `{"name":"slow","provider":"noop"}`)
	w.device("slow", "slow", quoted("slow:60000"))
	w.device("blocked", "slow", quoted("fail:Odd"))
	w.notifier(w.services.WindowsBody("win"))
	w.device("win", "win", quoted(w.services.WNS.Channel("forbidden")))
	w.services.WNS.Always("forbidden", answer{Status: http.StatusForbidden})
	ids := map[string]string{
		"SCHEDULED": w.notify("/devices/*", `{"fake":"x"}`, `,"deliver":4000000000`),
		"STARTED":   w.notify("/devices/slow", `{"slow":"x"}`, ""),
		"FINISHED":  w.notify("/devices/blocked", `{"slow":"x"}`, ""), // with errors of tokens
		"FAILED":    w.notify("/devices/win", `{"win":"x"}`, ""),      // with one of the notifier
		"CANCELED":  w.notify("/devices/*", `{"fake":"x"}`, `,"canceled":true`),
		"EXPIRED":   w.notify("/devices/*", `{"fake":"x"}`, `,"deliver":4000000000,"expire":1000000000`),
	}
	for state, id := range ids {
		w.eventually("a notification is "+state, func() bool { return w.ok("GET", "/notifications/"+id, "").Entity()["state"] == state })
		w.eventually("it is found by "+state, func() bool {
			list := w.ok("GET", "/notifications?ql="+url.QueryEscape("select * where state = '"+state+"'"), "").Entities()
			return len(list) == 1 && list[0]["uuid"] == id
		})
	}
	for state, want := range map[string]string{"FINISHED": failing, "FAILED": failed, "CANCELED": "CANCELED 0 0 0"} {
		w.wantEnd(ids[state], want)
	}
	w.ok("PUT", "/notifications/"+ids["STARTED"], `{"canceled":true}`)
	for _, state := range []string{"SCHEDULED", "FINISHED", "FAILED", "CANCELED", "EXPIRED"} {
		w.ok("DELETE", "/notifications/"+ids[state], "")
	}
}
