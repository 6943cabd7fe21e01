package collections_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
)

// newPush is a sandbox with a notifier, users, a group and their devices.
func newPush(t *testing.T) *rest {
	r := newRest(t)
	r.token = r.Admin
	r.ok("POST", "/notifiers", `{"name":"fake","provider":"noop"}`)
	r.ok("POST", "/groups", `{"path":"team/red"}`)
	for _, name := range []string{"ana", "bo", "cy"} {
		r.ok("POST", "/users", `{"username":"`+name+`","city":"c-`+name+`"}`)
		for i := range 2 {
			r.ok("POST", "/users/"+name+"/devices", fmt.Sprintf(`{"name":"%s%d","n":%d,"fake.notifier.id":"t"}`, name, i, i))
		}
	}
	r.ok("POST", "/devices", `{"name":"lone","location":{"latitude":37.5,"longitude":-122.2},"fake.notifier.id":"t"}`)
	r.ok("POST", "/groups/team/red/users/ana", "")
	r.ok("POST", "/groups/team/red/users/bo", "")
	return r
}

// viewed calls f with a view on the sandbox.
func (r *rest) viewed(f func(v *storage.View, app entity.AppID) error) {
	r.Helper()
	v, err := r.Node.View(r.Context(), entity.FirstApp)
	if err == nil {
		err = f(v, entity.FirstApp)
	}
	if err != nil {
		r.Fatal(err)
	}
	if err := v.Close(); err != nil {
		r.Error(err)
	}
}

// taskOf is the task of a notification; its zero value if there is none.
func (r *rest) taskOf(id string) (task entity.Task) {
	r.Helper()
	r.viewed(func(v *storage.View, app entity.AppID) error {
		n, _ := entity.ParseID(id)
		var err error
		task, _, err = storage.ReadTask(v, entity.PushTask(app, n))
		return err
	})
	return task
}

// engine changes a notification as the engine does.
func (r *rest) engine(id, patch string) {
	r.Helper()
	n, _ := entity.ParseID(id)
	out, err := r.Node.Propose(r.Context(), entity.FirstApp, command.Command{App: entity.FirstApp, Op: command.UpdateEntity{
		Rules: command.Rules{Collection: "notifications", Type: "notification"}, Target: command.Target{ID: n}, Patch: []byte(patch),
	}})
	if err != nil || out.Fault != nil {
		r.Fatal(err, out.Fault)
	}
}

// receipt stores a receipt as the engine does.
func (r *rest) receipt(notification, device, extra string) string {
	r.Helper()
	id := entity.NewID()
	out, err := r.Node.Propose(r.Context(), entity.FirstApp, command.Command{App: entity.FirstApp, Op: command.CreateEntities{
		Rules: command.Rules{Collection: "receipts", Type: "receipt"},
		Items: []command.NewEntity{{ID: id, Created: 1, Modified: 1, JSON: []byte(`{"notificationUUID":"` + notification + `","deviceId":"` + device + `"` + extra + `}`)}},
	}})
	if err != nil || out.Fault != nil {
		r.Fatal(err, out.Fault)
	}
	return id.String()
}

// recipients are the names of the devices a notification is for, in order.
func (r *rest) recipients(id string, limit int) []string {
	r.Helper()
	target := r.property(id, "pathQuery")
	var list []string
	r.viewed(func(v *storage.View, app entity.AppID) error {
		var position []byte
		for pieces := 0; ; pieces++ {
			devices, next, err := r.Data.Devices(r.Context(), v, app, target, r.property(id, "filters"), string(r.property(id, "useGraph")) == "true", position, limit)
			if err != nil {
				return err
			}
			if len(devices) > limit || pieces > 1000 {
				r.Fatalf("%d devices, limit %d; %d pieces", len(devices), limit, pieces)
			}
			for i := range devices {
				list = append(list, nameOf(devices[i].JSON))
			}
			if position = next; next == nil {
				return nil
			}
		}
	})
	return list
}

func TestCreateNotification(t *testing.T) {
	r := newPush(t)
	before := time.Now().UnixMilli()
	a := r.ok("POST", "/users/ana/notifications", `{"payloads":{"fake":{"aps":{"alert":"Order shipped","location":{"lat":1}}},"FAKE":null},"debug":true,"expire":4000000000,
		"priority":"HIGH","type":"/users/ana/notifications","queued":1,"started":2,"state":"FINISHED","statistics":{"sent":9},"errorMessage":"x","note":7}`)
	e := a.Entity()
	id := uuidOf(t, a)
	ana := uuidOf(t, r.ok("GET", "/users/ana", ""))
	r.wantProps(e, `{"debug":true,"deviceProcessedCount":0,"expire":4000000000000,"filters":{},"note":7,"pathQuery":{"pathTokens":[{"collection":"users","identifier":{"type":"UUID","value":"`+ana+`"}}]},`+
		`"payloads":{"FAKE":null,"fake":{"aps":{"alert":"Order shipped","location":{"lat":1}}}},"priority":"high","processingFinished":0,"saveReceipts":true,"scheduled":false,"state":"CREATED","useGraph":false}`)
	if !strings.Contains(a.Body, `"payloads":{"fake":`) {
		t.Errorf("the order of payloads is not the client's: %s", a.Body)
	}
	if a.Fields["path"] != "/users/"+ana+"/notifications" || e["type"] != "notification" {
		t.Errorf("envelope %s", a.Body)
	}
	if got, want := fmt.Sprint(e["metadata"]), fmt.Sprintf("map[collections:map[queue:/notifications/%[1]s/queue receipts:/notifications/%[1]s/receipts] path:/notifications/%[1]s]", id); got != want {
		t.Errorf("metadata %s", got)
	}
	if task := r.taskOf(id); task.Kind != "push" || string(task.Body) != string(mustID(id)) || task.NotBefore < before-1000 || task.NotBefore > time.Now().UnixMilli() {
		t.Errorf("task %+v", task)
	}
	if got := r.ok("GET", "/notifications/"+id, "").Entity(); props(got) != props(e) {
		t.Errorf("read: %v", got)
	}
	if got := uuidOf(t, r.query("/notifications", "state = 'CREATED' order by created desc")); got != id {
		t.Errorf("by state: %s", got)
	}

	// Scheduled, in seconds and in milliseconds.
	at := time.Now().Unix() + 3600
	for _, deliver := range []int64{at, at * 1000} {
		a := r.ok("POST", "/devices/lone/notifications", fmt.Sprintf(`{"payloads":{"fake":"x"},"deliver":%d}`, deliver))
		e := a.Entity()
		if number(e["deliver"]) != at*1000 || e["state"] != "SCHEDULED" || e["scheduled"] != true || r.taskOf(uuidOf(t, a)).NotBefore != at*1000 {
			t.Errorf("scheduled: %s", a.Body)
		}
	}
	// Late by less than half a second is now.
	a = r.ok("POST", "/devices/lone/notifications", fmt.Sprintf(`{"payloads":{"fake":"x"},"deliver":%d}`, time.Now().UnixMilli()))
	if a.Entity()["state"] != "CREATED" || a.Entity()["deliver"] != nil {
		t.Errorf("now: %s", a.Body)
	}
	for body, state := range map[string]string{
		`"expired":1000000000`:                        "EXPIRED",
		`"canceled":true`:                             "CANCELED",
		`"cancelled":true`:                            "CANCELED",
		`"deliver":null,"expire":null,"debug":null`:   "CREATED",
		`"priority":"urgent","filters":{"a":1}`:       "CREATED",
		`"saveReceipts":"false","canceled":false`:     "CREATED",
		`"deliver":4000000000,"expire":3000000000000`: "SCHEDULED",
	} {
		if a := r.ok("POST", "/notifications", `{"payloads":{},`+body+`}`); a.Entity()["state"] != state || a.Entity()["pathQuery"] != nil {
			t.Errorf("%s: %s", body, a.Body)
		}
	}
	a = r.ok("POST", "/notifications", `{"payloads":{},"deliver":4000000000,"expire":3000000000000}`)
	if task := r.taskOf(uuidOf(t, a)); task.NotBefore != 3000000000000 {
		t.Errorf("the task of what expires before it is delivered is due at %d", task.NotBefore)
	}
	// An array: one each.
	a = r.ok("POST", "/users;ql=city='c-bo'/notifications", `[`+strings.Repeat(`{"payloads":{"fake":"x"}},`, 119)+`{"payloads":{"fake":"last"}}]`)
	if len(a.Entities()) != 120 || !strings.Contains(fmt.Sprint(a.Entities()[119]["payloads"]), "last") {
		t.Errorf("array: %d", len(a.Entities()))
	}
	for _, e := range []int{0, 50, 119} {
		if r.taskOf(fmt.Sprint(a.Entities()[e]["uuid"])).Kind == "" {
			t.Errorf("element %d has no task", e)
		}
	}
}

func mustID(s string) []byte {
	id, _ := entity.ParseID(s)
	return id[:]
}

// TestNotificationsRefused is the table of spec push-notifications section 3.3.
func TestNotificationsRefused(t *testing.T) {
	r := newPush(t)
	past := time.Now().UnixMilli() - 1000
	for _, tc := range []struct{ path, body, code, text string }{
		{"/notifications", `{}`, "required_property_not_found", "payloads"},
		{"/notifications", ``, "required_property_not_found", "payloads"},
		{"/notifications", `{"payloads":null}`, "required_property_not_found", "payloads"},
		{"/notifications", `{"payloads":"x"}`, "illegal_argument", "payloads"},
		{"/notifications", `{"payloads":["x"]}`, "illegal_argument", "payloads"},
		{"/users/ana/notifications", `{"payloads":{"nobody":"x"}}`, "illegal_argument", "nobody"},
		{"/users/ana/notifications", `{"payloads":{"` + vendorID + `":"x"}}`, "illegal_argument", vendorID},
		{"/users/ana/notifications", `{"payloads":{"fake":"x","Fake":7}}`, "illegal_argument", "payload"},
		{"/users/ana/notifications", `{"payloads":{"fake":"x"},"deliver":"1700000000"}`, "illegal_argument", "Property 'deliver' must be a number"},
		{"/users/ana/notifications", `{"payloads":{"fake":"x"},"deliver":true}`, "illegal_argument", "Property 'deliver' must be a number"},
		{"/users/ana/notifications", fmt.Sprintf(`{"payloads":{"fake":"x"},"deliver":%d}`, past), "illegal_argument", "Property 'deliver' cannot have a value in the past"},
		{"/users/ana/notifications", `{"payloads":{"fake":"x"},"deliver":0}`, "illegal_argument", "in the past"},
		{"/users/ana/notifications", `{"payloads":{"fake":"x"},"expire":"soon"}`, "illegal_argument", "Property 'expire' must be a number"},
		{"/users/ana/notifications", `{"payloads":{"fake":"x"},"canceled":"yes"}`, "illegal_argument", "canceled"},
		{"/users/ana/notifications", `{"payloads":{"fake":"x"},"filters":[1]}`, "illegal_argument", "filters"},
		{"/devices;ql=n=1/notifications", `{"payloads":{"fake":"x"},"useGraph":true}`, "illegal_argument", "useGraph"},
		{"/users/ana/devices;ql=n=1/notifications", `{"payloads":{"fake":"x"},"useGraph":true}`, "illegal_argument", "useGraph"},
		{"/users/ana/notifications", `[{"payloads":{"fake":"x"}},{"payloads":{"fake":7}}]`, "illegal_argument", "payload"},
		{"/devices;ql=n=/notifications", `{"payloads":{"fake":"x"}}`, "query_parse", ""},
	} {
		a := r.fails("POST", tc.path, tc.body, 400, tc.code)
		if !strings.Contains(fmt.Sprint(a.Fields["error_description"]), tc.text) {
			t.Errorf("%s %s: %s", tc.path, tc.body, a.Body)
		}
	}
	if n := len(r.ok("GET", "/notifications", "").Entities()); n != 0 {
		t.Errorf("%d stored all the same", n)
	}
	// A named target that is not there.
	for _, path := range []string{"/devices/x", "/devices/" + vendorID, "/users/x", "/users/me", "/users/ana/devices/bo0", "/users/x/devices/*", "/groups/team", "/groups/team/red/users/cy", "/groups/*/users/x"} {
		if a := r.do("POST", path+"/notifications", `{"payloads":{"fake":"x"}}`); a.Status != 404 {
			t.Errorf("%s: %d %s", path, a.Status, a.Body)
		}
	}
	// What is no target makes no notification.
	r.ok("POST", "/items", `{"name":"i"}`)
	for _, path := range []string{"/items/i/notifications", "/users/ana/likes/notifications", "/devices/lone/users/notifications", "/groups/team/red/devices/notifications", "/users/ana/groups/*/notifications"} {
		if a := r.do("POST", path, `{"payloads":{"fake":"x"}}`); a.Status < 400 {
			t.Errorf("%s: %d %s", path, a.Status, a.Body)
		}
	}
	if n := len(r.ok("GET", "/notifications", "").Entities()); n != 0 {
		t.Errorf("%d stored all the same", n)
	}
}

// TestTargets is the table of spec push-notifications section 3.1, in its spellings.
func TestTargets(t *testing.T) {
	r := newPush(t)
	ids := map[string]string{}
	for _, path := range []string{"/users/ana", "/groups/team/red", "/devices/ana0"} {
		ids[path] = uuidOf(t, r.ok("GET", path, ""))
	}
	everyone := "ana0 ana1 bo0 bo1 cy0 cy1 lone"
	for _, tc := range []struct{ path, want string }{
		{"/notifications", ""},
		{"/notifications?ql=x=1", ""},
		{"/notification", ""},
		{"/devices/*/notifications", everyone},
		{"/devices/all/notifications", everyone},
		{"/device/*/notification", everyone},
		{"/devices/notifications", everyone},
		{"/devices;ql=/notifications", everyone},
		{"/devices;ql=*/notifications", everyone},
		{"/devices/*;ql=n=1/notifications", "ana1 bo1 cy1"},
		{"/devices;ql=n=1;limit=1/notifications", "ana1 bo1 cy1"},
		{"/devices;ql=n%20=%201;cursor=x/notifications", "ana1 bo1 cy1"},
		{"/devices;ql=select+*+where+n=1+order+by+name/notifications", "ana1 bo1 cy1"},
		{"/devices;ql=location%20within%20500%20of%2037.5,-122.2/notifications", "lone"},
		{"/devices;ql=n=7/notifications", ""},
		{"/devices?ql=location%20within%20500%20of%2037.5,-122.2", "lone"},
		{"/devices;ql=n=0", "ana0 bo0 cy0"},
		{"/devices/ana0/notifications", "ana0"},
		{"/devices/" + ids["/devices/ana0"] + "/notifications/", "ana0"},
		{"/devices;ql=direct%20cy1,ana0/notifications", "ana0 cy1"},
		{"/users/ana/notifications", "ana0 ana1"},
		{"/user/" + ids["/users/ana"] + "/notifications", "ana0 ana1"},
		{"/users/*/notifications", "ana0 ana1 bo0 bo1 cy0 cy1"},
		{"/users/all/notifications", "ana0 ana1 bo0 bo1 cy0 cy1"},
		{"/users;ql=city='c-*'/notifications", "ana0 ana1 bo0 bo1 cy0 cy1"},
		{"/users;ql=select%20*%20where%20username%20=%20'bo'/notifications", "bo0 bo1"},
		{"/users;ql=username='nobody'/notifications", ""},
		{"/users/ana/devices/ana1/notifications", "ana1"},
		{"/users/ana/devices/*/notifications", "ana0 ana1"},
		{"/users/ana/devices/notifications", "ana0 ana1"},
		{"/users/ana/devices;ql=n=0/notifications", "ana0"},
		{"/users/*/devices;ql=n=0/notifications", "ana0 bo0 cy0"},
		{"/users;ql=username='bo'/devices/*;ql=n=0/notifications", "bo0"},
		{"/groups/team/red/notifications", "ana0 ana1 bo0 bo1"},
		{"/groups/" + ids["/groups/team/red"] + "/notifications", "ana0 ana1 bo0 bo1"},
		{"/groups/*/notifications", "ana0 ana1 bo0 bo1"},
		{"/groups;ql=path='team%2Fred'/notifications", "ana0 ana1 bo0 bo1"},
		{"/groups/team/red/users/ana/notifications", "ana0 ana1"},
		{"/groups/team/red/users/*/notifications", "ana0 ana1 bo0 bo1"},
		{"/group/team/red/user;ql=username='bo'/notifications", "bo0 bo1"},
		{"/groups/team/red/users/bo/devices/bo1/notifications", "bo1"},
		{"/groups/*/users/*/devices/*/notifications", "ana0 ana1 bo0 bo1"},
	} {
		a := r.ok("POST", tc.path, `{"payloads":{"fake":"x"}}`)
		if a.Entity()["type"] != "notification" {
			t.Errorf("%s: %s", tc.path, a.Body)
			continue
		}
		for _, limit := range []int{1, 3, 1000} {
			if got := sorted(r.recipients(uuidOf(t, a), limit)); got != tc.want {
				t.Errorf("%s by %d: %s, want %s; %v", tc.path, limit, got, tc.want, a.Entity()["pathQuery"])
			}
		}
	}
	// A user himself, and filters.
	r.do("PUT", "/users/ana/password", `{"newpassword":"sunny-day-1"}`)
	ana := r.as(r.login("/acme/sandbox", "ana", "sunny-day-1"))
	if got := sorted(r.recipients(uuidOf(t, ana.ok("POST", "/users/me/notifications", `{"payloads":{"fake":"x"}}`)), 10)); got != "ana0 ana1" {
		t.Errorf("me: %s", got)
	}
	for filters, want := range map[string]string{`{}`: everyone, `{"n":1}`: "ana1 bo1 cy1", `{"N":1.0,"name":"LONE"}`: "ana1 bo1 cy1 lone", `{"n":"1"}`: ""} {
		a := r.ok("POST", "/devices/*/notifications", `{"payloads":{"fake":"x"},"useGraph":true,"filters":`+filters+`}`)
		if got := sorted(r.recipients(uuidOf(t, a), 2)); got != want {
			t.Errorf("filters %s: %s, want %s", filters, got, want)
		}
	}
	a := r.ok("POST", "/devices/*/notifications", `{"payloads":{"fake":"x"},"filters":{"n":1}}`)
	if got := sorted(r.recipients(uuidOf(t, a), 100)); got != everyone {
		t.Errorf("filters without useGraph: %s", got)
	}
	// A body without payloads makes a device.
	if a := r.ok("POST", "/devices?ql=n=1", `{"name":"made"}`); a.Entity()["type"] != "device" {
		t.Errorf("made %s", a.Body)
	}
	if a := r.ok("POST", "/devices", `{"name":"made too","payloads":{"fake":"x"}}`); a.Entity()["type"] != "device" {
		t.Errorf("made %s", a.Body)
	}
}
