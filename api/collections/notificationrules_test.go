package collections_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
)

// inState makes a notification that is in a state.
func (r *rest) inState(state string) string {
	r.Helper()
	body := `{"payloads":{"fake":"x"}}`
	patch := ""
	switch state {
	case "SCHEDULED":
		body = `{"payloads":{"fake":"x"},"deliver":4000000000}`
	case "EXPIRED":
		body = `{"payloads":{"fake":"x"},"expire":1000000000}`
	case "STARTED":
		patch = `{"state":"STARTED","started":5}`
	case "FINISHED":
		patch = `{"state":"FINISHED","started":5,"finished":6,"statistics":{"sent":1,"errors":0}}`
	case "FAILED":
		patch = `{"state":"FAILED","started":5,"finished":6,"errorMessage":"no"}`
	case "CANCELED":
		patch = `{"state":"CANCELED","started":5,"finished":6,"canceled":true}`
	}
	a := r.ok("POST", "/users/ana/notifications", body)
	id := uuidOf(r.T, a)
	if patch != "" {
		r.engine(id, patch)
	} else if a.Entity()["state"] != state {
		r.Fatalf("%s, want %s", a.Body, state)
	}
	return id
}

// TestNotificationRules is the table of spec push-notifications section 6.1.
func TestNotificationRules(t *testing.T) {
	r := newPush(t)
	const forbidden = "forbidden_service_operation"
	for _, tc := range []struct{ states, body, want string }{ // want: the state after, or the error
		{"CREATED SCHEDULED EXPIRED STARTED", `{"canceled":true}`, "CANCELED"},
		{"CREATED SCHEDULED STARTED", `{"cancelled":true}`, "CANCELED"},
		{"FINISHED FAILED CANCELED", `{"canceled":true}`, forbidden},
		{"STARTED FINISHED FAILED CANCELED", `{"canceled":false}`, forbidden},
		{"CREATED STARTED", `{"canceled":"true"}`, "illegal_argument"},
		{"CREATED SCHEDULED", `{"deliver":4100000000}`, "SCHEDULED"},
		{"EXPIRED", `{"deliver":4100000000,"expired":4200000000}`, "SCHEDULED"},
		{"EXPIRED", `{"deliver":4100000000}`, "EXPIRED"},
		{"STARTED FINISHED FAILED CANCELED", `{"deliver":4100000000}`, forbidden},
		{"CREATED SCHEDULED", `{"deliver":null}`, "CREATED"},
		{"CREATED SCHEDULED", `{"deliver":1}`, "illegal_argument"},
		{"CREATED SCHEDULED", `{"deliver":"x"}`, "illegal_argument"},
		{"CREATED SCHEDULED", `{"expired":1000000000}`, "EXPIRED"},
		{"EXPIRED", `{"expire":4100000000}`, "CREATED"},
		{"EXPIRED", `{"expire":null}`, "CREATED"},
		{"STARTED", `{"expire":4000000000}`, "STARTED"},
		{"STARTED", `{"expire":null}`, forbidden},
		{"STARTED", `{"canceled":true,"note":1}`, forbidden},
		{"STARTED", `{"canceled":true,"state":"x","started":1}`, "CANCELED"},
		{"STARTED", `{}`, forbidden},
		{"CREATED", `{"payloads":{"fake":{"a":1}},"priority":"high","note":1}`, "CREATED"},
		{"SCHEDULED", `{"payloads":{"fake":7}}`, "illegal_argument"},
		{"SCHEDULED", `{"payloads":{"nobody":"x"}}`, "illegal_argument"},
		{"SCHEDULED", `{"payloads":"x"}`, "illegal_argument"},
		{"SCHEDULED", `{"payloads":null}`, "required_property_not_found"},
		{"CREATED", `{"state":"FINISHED","finished":1,"statistics":{"sent":9}}`, "CREATED"},
		{"STARTED FINISHED FAILED CANCELED", `{"note":1}`, forbidden},
		{"CREATED SCHEDULED STARTED", `{"restart":"restart"}`, forbidden},
		{"FINISHED FAILED CANCELED", `{"restart":"restart"}`, "CREATED"},
		{"EXPIRED", `{"restart":true}`, "CREATED"},
	} {
		for state := range strings.FieldsSeq(tc.states) {
			id := r.inState(state)
			a := r.do("PUT", "/notifications/"+id, tc.body)
			got := fmt.Sprint(a.Entity()["state"])
			if a.Status != 200 {
				got = a.Code()
			}
			if got != tc.want || a.Code() == forbidden && a.Status != 403 {
				t.Errorf("%s %s: %d %s, want %s; %s", state, tc.body, a.Status, got, tc.want, a.Body)
			}
			if stored := r.ok("GET", "/notifications/"+id, "").Entity(); a.Status == 200 && stored["state"] != tc.want || a.Status != 200 && stored["state"] != state {
				t.Errorf("%s %s: stored %v", state, tc.body, stored)
			}
		}
	}
	r.fails("PUT", "/notifications/"+r.inState("CREATED"), `{"useGraph":true,"filters":[]}`, 400, "illegal_argument")
}

func TestReschedule(t *testing.T) {
	r := newPush(t)
	id := r.inState("SCHEDULED")
	due := func() int64 { return r.taskOf(id).NotBefore }
	r.ok("PUT", "/notifications/"+id, `{"deliver":4200000000}`)
	if due() != 4200000000000 {
		t.Errorf("later: due at %d", due())
	}
	r.ok("PUT", "/notifications/"+id, `{"expire":4100000000}`)
	if due() != 4100000000000 {
		t.Errorf("expires before: due at %d", due())
	}
	a := r.ok("PUT", "/notifications/"+id, `{"deliver":null,"expire":null}`)
	if now := time.Now().UnixMilli(); due() > now || due() < now-60_000 || a.Entity()["deliver"] != nil || a.Entity()["scheduled"] != false {
		t.Errorf("now: due at %d; %s", due(), a.Body)
	}
	// Cancelled: the task is woken, to end what is open.
	id = r.inState("SCHEDULED")
	r.ok("PUT", "/notifications/"+id, `{"canceled":true}`)
	if due() > time.Now().UnixMilli() {
		t.Errorf("cancelled: due at %d", due())
	}
	// Restarted: a task as new, and nothing left of the last time.
	id = r.inState("FAILED")
	n, _ := entity.ParseID(id)
	if _, err := r.Node.Propose(r.Context(), entity.FirstApp, command.Command{App: entity.FirstApp, Op: command.CancelTask{ID: entity.PushTask(entity.FirstApp, n)}}); err != nil {
		t.Fatal(err)
	}
	r.engine(id, `{"statistics":{"sent":0,"errors":3},"expectedCount":3,"deviceProcessedCount":3,"queued":4}`)
	e := r.ok("PUT", "/notifications/"+id, `{"restart":"restart"}`).Entity()
	if e["statistics"] != nil || e["finished"] != nil || e["errorMessage"] != nil || e["started"] != nil || e["queued"] != nil || number(e["deviceProcessedCount"]) != 0 {
		t.Errorf("restarted: %v", e)
	}
	if task := r.taskOf(id); task.Kind != "push" || string(task.Body) != string(n[:]) {
		t.Errorf("task %+v", task)
	}
	// Only administrators restart.
	r.do("PUT", "/users/ana/password", `{"newpassword":"sunny-day-1"}`)
	ana := r.as(r.login("/acme/sandbox", "ana", "sunny-day-1"))
	r.engine(id, `{"state":"FINISHED","finished":6}`)
	if a := ana.do("PUT", "/notifications/"+id, `{"restart":"restart"}`); a.Status != 401 && a.Status != 200 {
		t.Errorf("restarted by a user: %s", a.Body)
	}
}

// TestNotificationsByUUID: PUT and POST of an unknown one create, and address nobody.
func TestNotificationsByUUID(t *testing.T) {
	r := newPush(t)
	for i, method := range []string{"PUT", "POST"} {
		id := fmt.Sprintf("%df9c0a4e-8b0c-11ee-b9d1-0242ac120002", i+3)
		a := r.ok(method, "/notifications/"+id, `{"payloads":{"fake":"x"},"state":"FINISHED","finished":7,"statistics":{"sent":1,"errors":0},"created":1500000000000}`)
		e := a.Entity()
		if e["uuid"] != id || e["state"] != "CREATED" || e["finished"] != nil || e["statistics"] != nil || e["pathQuery"] != nil || number(e["created"]) != 1500000000000 || a.Fields["path"] != "/notifications" {
			t.Errorf("%s: %s", method, a.Body)
		}
		if r.taskOf(id).Kind == "" || len(r.recipients(id, 10)) != 0 {
			t.Errorf("%s: task %+v", method, r.taskOf(id))
		}
		if a := r.ok("POST", "/notifications/"+id, `{"payloads":{"fake":"y"}}`); props(a.Entity()) != props(e) {
			t.Errorf("POST of one that is there: %s", a.Body)
		}
	}
	r.fails("PUT", "/notifications/"+vendorID, `{"canceled":true}`, 404, "service_resource_not_found")
	r.fails("POST", "/notifications/"+vendorID, ``, 404, "service_resource_not_found")
	r.fails("PUT", "/notifications/name", `{"payloads":{}}`, 404, "service_resource_not_found")
	r.fails("PUT", "/notifications/"+uuidOf(t, r.ok("GET", "/devices/lone", "")), `{"payloads":{}}`, 400, "unexpected_entity_type")
	if a := r.ok("PUT", "/notifications", `{"payloads":{}}`); a.Entity()["state"] != "CREATED" {
		t.Errorf("PUT of the collection: %s", a.Body)
	}
	// By query: all of them, or none.
	r.fails("PUT", "/notifications?ql="+url.QueryEscape("state='STARTED'"), `{"canceled":true}`, 404, "service_resource_not_found")
	r.inState("STARTED")
	r.fails("PUT", "/notifications?ql=", `{"deliver":4000000000}`, 403, "forbidden_service_operation")
	if n := len(r.query("/notifications", "state='SCHEDULED'").Entities()); n != 0 {
		t.Errorf("%d changed all the same", n)
	}
	if a := r.ok("PUT", "/notifications/*", `{"canceled":true}`); len(a.Entities()) != 4 || a.Entity()["state"] != "CANCELED" {
		t.Errorf("by query: %s", a.Body)
	}
	// Nothing gets round the rules.
	r.ok("POST", "/items", `{"name":"i"}`)
	r.fails("POST", "/items/i/likes/notification", `{"payloads":{"fake":"x"}}`, 405, "unsupported_service_operation")
	r.fails("PUT", "/items/i/likes/notifications/"+vendorID, `{"payloads":{"fake":"x"}}`, 405, "unsupported_service_operation")
}

func TestDeleteNotifications(t *testing.T) {
	r := newPush(t)
	lone := uuidOf(t, r.ok("GET", "/devices/lone", ""))
	for _, state := range []string{"CREATED", "SCHEDULED", "EXPIRED", "FINISHED", "FAILED", "CANCELED"} {
		id := r.inState(state)
		mine, others := r.receipt(id, lone, ""), r.receipt(vendorID, lone, "")
		if a := r.ok("DELETE", "/notifications/"+id, ""); a.Entity()["uuid"] != id || a.Entity()["state"] != state {
			t.Errorf("%s: %s", state, a.Body)
		}
		r.fails("GET", "/notifications/"+id, "", 404, "entity_not_found")
		r.fails("GET", "/receipts/"+mine, "", 404, "entity_not_found")
		r.ok("GET", "/receipts/"+others, "")
		if task := r.taskOf(id); task.NotBefore > time.Now().UnixMilli() || task.Kind != "push" {
			t.Errorf("%s: task %+v", state, task)
		}
		r.fails("DELETE", "/notifications/"+id, "", 404, "service_resource_not_found")
	}
	started := r.inState("STARTED")
	r.fails("DELETE", "/notifications/"+started, "", 403, "forbidden_service_operation")
	scheduled := r.inState("SCHEDULED")
	for _, target := range []string{"?ql=", "/*", "?limit=100"} {
		r.fails("DELETE", "/notifications"+target, "", 403, "forbidden_service_operation")
	}
	r.ok("GET", "/notifications/"+scheduled, "")
	if a := r.ok("DELETE", "/notifications?ql="+url.QueryEscape("state='SCHEDULED'"), ""); uuidOf(t, a) != scheduled {
		t.Errorf("by query: %s", a.Body)
	}
	r.fails("DELETE", "/notifications", "", 405, "unsupported_service_operation")
}

// TestExpiredOnRead: a notification has expired when it has, whoever writes that down.
func TestExpiredOnRead(t *testing.T) {
	r := newPush(t)
	id := r.inState("SCHEDULED")
	r.engine(id, `{"expire":1000000000000}`)
	for _, path := range []string{"/notifications/" + id, "/notifications", "/notifications/" + id + "?connections=all"} {
		if got := r.ok("GET", path, "").Entity(); got["state"] != "EXPIRED" {
			t.Errorf("%s: %v", path, got)
		}
	}
	r.ok("PUT", "/notifications/"+id, `{"deliver":4000000000,"expire":null}`)
	if got := r.ok("GET", "/notifications/"+id, "").Entity(); got["state"] != "SCHEDULED" {
		t.Errorf("scheduled anew: %v", got)
	}
}

func TestReceiptsAndRelations(t *testing.T) {
	r := newPush(t)
	device := func(name string) string { return uuidOf(t, r.ok("GET", "/devices/"+name, "")) }
	a0, b0 := device("ana0"), device("bo0")
	n := []string{r.inState("FINISHED"), r.inState("FINISHED"), r.inState("SCHEDULED")}
	x := r.receipt(n[0], a0, `,"name":"x","errorCode":"E"`)
	r.receipt(n[0], b0, `,"name":"y","sent":5`)
	r.receipt(n[1], a0, `,"name":"z"`)
	for _, tc := range []struct{ path, want string }{
		{"/receipts", "z y x"}, {"/receipt", "z y x"}, {"/receipts/" + x, "x"}, {"/receipt/" + x, "x"},
		{"/receipts?ql=notificationUUID=" + n[0], "y x"},
		{"/receipts?ql=notificationUUID%3D" + n[0] + "%20order%20by%20created%20desc", "y x"},
		{"/receipts?ql=errorCode='E'", "x"},
		{"/notifications/" + n[0] + "/receipts", "y x"}, {"/notification/" + n[0] + "/receipt", "y x"},
		{"/notifications/" + n[0] + "/receipts?ql=sent=5", "y"}, {"/notifications/" + n[0] + "/receipts?limit=1", "y"},
		{"/notifications/*/receipts", "z y x"}, {"/notifications/all/receipts", "z y x"},
		{"/notifications;ql=state='FINISHED'/receipts", "z y x"}, {"/notifications;ql=uuid='" + n[1] + "'/receipts", "z"},
		{"/notifications;ql=state='SCHEDULED'/receipts", ""}, {"/notifications;ql=state='NONE'/receipts", ""},
		{"/" + n[0] + "/*/receipts", "y x"}, {"/" + n[0] + "/receipts", "y x"}, {"/" + strings.ToUpper(n[0]) + "/all/receipt", "y x"},
		{"/devices/ana0/receipts", "z x"}, {"/devices/" + a0 + "/receipts", "z x"}, {"/device/*/receipts", "z y x"},
		{"/devices;ql=name='bo0'/receipts", "y"}, {"/" + a0 + "/*/receipts", "z x"}, {"/" + a0 + "/receipts", "z x"},
	} {
		if got := names(r.ok("GET", tc.path, "")); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.path, got, tc.want)
		}
	}
	number := map[any]string{n[0]: "0", n[1]: "1", n[2]: "2"}
	y := uuidOf(t, r.query("/receipts", "name='y'"))
	for _, tc := range []struct{ path, want string }{
		{"/receipts/" + x + "/notifications", "0"}, {"/receipts/" + y + "/notification", "0"}, {"/receipts/*/notifications", "10"}, {"/receipts/all/notification", "10"},
		{"/receipts/*/notifications?limit=1", "1"}, {"/receipts;ql=deviceId=" + a0 + "/notifications", "10"}, {"/receipts;ql=name='q'/notifications", ""},
		{"/" + x + "/*/notifications", "0"}, {"/" + x + "/notifications", "0"},
		{"/devices/bo0/notifications", "0"}, {"/users/ana/notifications", "210"}, {"/users/bo/notifications", ""}, {"/users/*/notifications", "210"},
		{"/groups/team/red/notifications", ""}, {"/users/ana/notifications?ql=state='SCHEDULED'", "2"},
	} {
		got := ""
		a := r.ok("GET", tc.path, "")
		for _, e := range a.Entities() {
			got += number[e["uuid"]]
		}
		if got != tc.want {
			t.Errorf("%s: %s, want %s", tc.path, got, tc.want)
		}
	}
	// Pages.
	first := r.ok("GET", "/receipts/*/notifications?limit=1", "")
	if second := r.ok("GET", "/receipts/*/notifications?limit=1&cursor="+first.Cursor(), ""); uuidOf(t, second) != n[0] {
		t.Errorf("second page: %s", second.Body)
	}
	first = r.ok("GET", "/notifications/"+n[0]+"/receipts?limit=1", "")
	if second := r.ok("GET", "/notifications/"+n[0]+"/receipts?limit=1&cursor="+first.Cursor(), ""); names(second) != "x" || second.Cursor() != "" {
		t.Errorf("second page: %s", second.Body)
	}
	r.fails("GET", "/notifications/"+n[1]+"/receipts?cursor="+first.Cursor(), "", 400, "illegal_argument")
	for _, path := range []string{"/" + a0 + "/*/queue", "/" + x + "/receipts", "/" + a0 + "/notifications", "/" + vendorID + "/*/receipts", "/notifications/" + vendorID + "/receipts", "/receipts/" + vendorID + "/notifications", "/devices/nothing/receipts"} {
		if a := r.do("GET", path, ""); a.Status != 404 {
			t.Errorf("%s: %d %s", path, a.Status, a.Body)
		}
	}
	for _, request := range []string{"POST /receipts", "PUT /receipts", "PUT /receipts/" + x, "POST /receipts/" + x, "POST /receipts/*", "POST /notifications/" + n[0] + "/receipts", "DELETE /devices/ana0/receipts", "POST /receipts/" + x + "/notifications", "POST /notifications/" + n[0] + "/queue"} {
		method, path, _ := strings.Cut(request, " ")
		r.fails(method, path, `{"name":"x"}`, 405, "unsupported_service_operation")
	}
	r.ok("DELETE", "/receipts/"+x, "")
	r.ok("DELETE", "/receipts?ql=name='y'", "")
	if got := names(r.ok("GET", "/receipts", "")); got != "z" {
		t.Errorf("left %s", got)
	}
}

func TestQueue(t *testing.T) {
	r := newPush(t)
	r.ok("POST", "/users/ana/devices", `{"name":"mute"}`)
	r.ok("POST", "/users/ana/devices", `{"name":"other","x.notifier.id":"t"}`)
	scheduled := r.inState("SCHEDULED")
	queue := func(path string) string { t.Helper(); return names(r.ok("GET", path, "")) }
	for _, path := range []string{"/notifications/" + scheduled + "/queue", "/notification/" + scheduled + "/queues", "/" + scheduled + "/*/queue", "/" + scheduled + "/queue", "/notifications/*/queue", "/notifications;ql=state='SCHEDULED'/queue"} {
		if got := queue(path); got != "ana1 ana0" {
			t.Errorf("%s: %s", path, got)
		}
	}
	if got := queue("/notifications/" + scheduled + "/queue?ql=n=0"); got != "ana0" {
		t.Errorf("by query: %s", got)
	}
	walk := func(id string, limit int) (list []string) {
		cursor := ""
		for {
			a := r.ok("GET", fmt.Sprintf("/notifications/%s/queue?limit=%d%s", id, limit, cursor), "")
			for _, e := range a.Entities() {
				list = append(list, fmt.Sprint(e["name"]))
			}
			if len(a.Entities()) > limit {
				t.Errorf("%d devices", len(a.Entities()))
			}
			if a.Cursor() == "" {
				return list
			}
			cursor = "&cursor=" + a.Cursor()
		}
	}
	everyone := uuidOf(t, r.ok("POST", "/users/*/notifications", `{"payloads":{"fake":"x"},"deliver":4000000000}`))
	for limit := range 4 {
		if got := sorted(walk(everyone, limit+1)); got != "ana0 ana1 bo0 bo1 cy0 cy1" {
			t.Errorf("by %d: %s", limit+1, got)
		}
	}
	// While it is sent: those whose delivery is open.
	r.engine(everyone, `{"state":"STARTED","started":5}`)
	var devices []command.NewDelivery
	var number entity.Seq
	id, _ := entity.ParseID(everyone)
	r.viewed(func(v *storage.View, app entity.AppID) error {
		for _, name := range []string{"ana0", "bo0", "cy0", "cy1"} {
			col, _, err := storage.ReadCollectionID(v, app, "devices")
			if err != nil {
				return err
			}
			e, _, err := storage.ReadEntityByAlias(v, app, col, "name", name)
			if err != nil {
				return err
			}
			devices = append(devices, command.NewDelivery{Device: e.Seq, Notifier: 1})
		}
		col, _, err := storage.ReadCollectionID(v, app, "notifications")
		if err != nil {
			return err
		}
		e, _, err := storage.ReadEntityByID(v, app, col, id)
		number = e.Seq
		return err
	})
	rules := command.Rules{Collection: "notifications", Type: "notification"}
	for _, op := range []command.Op{
		command.QueueDeliveries{Rules: rules, Notification: id, Number: number, Items: devices},
		command.SettleDeliveries{Rules: rules, Notification: id, Number: number, Verdicts: []command.Verdict{{Device: devices[1].Device, State: entity.DeliverySent}},
			Receipts: command.Rules{Collection: "receipts", Type: "receipt"}},
	} {
		if out, err := r.Node.Propose(r.Context(), entity.FirstApp, command.Command{App: entity.FirstApp, Op: op}); err != nil || out.Fault != nil {
			t.Fatal(err, out.Fault)
		}
	}
	for limit := range 4 {
		if got := strings.Join(walk(everyone, limit+1), " "); got != "ana0 cy0 cy1" {
			t.Errorf("started, by %d: %s", limit+1, got)
		}
	}
	if got := queue("/notifications/*/queue?limit=100"); got != "ana0 cy0 cy1 ana1" {
		t.Errorf("of all: %s", got)
	}
	r.engine(everyone, `{"state":"FINISHED","finished":5}`)
	if got := queue("/notifications/" + everyone + "/queue"); got != "" {
		t.Errorf("finished: %s", got)
	}
	r.fails("GET", "/notifications/"+scheduled+"/queue?cursor=abc", "", 400, "illegal_argument")
}

// TestBroadcasting: who may create devices, or touch each, may not write to all of them.
func TestBroadcasting(t *testing.T) {
	guest, admin := closed(t)
	admin.ok("POST", "/notifiers", `{"name":"fake","provider":"noop"}`)
	admin.ok("POST", "/devices", `{"name":"d"}`)
	const body = `{"payloads":{"fake":"x"}}`
	grant := func(permission string) {
		t.Helper()
		admin.ok("POST", "/roles/guest/permissions", `{"permission":"`+permission+`"}`)
	}
	broadcasts := []string{"/devices?ql=", "/devices;ql=", "/devices?ql=name='d'", "/device?q=*", "/devices/notifications"}
	paths := append([]string{"/devices/*/notifications", "/devices;ql=/notifications", "/devices/d/notifications", "/notifications", "/users/*/notifications"}, broadcasts...)
	for _, path := range paths {
		guest.fails("POST", path, body, 401, "unauthorized")
	}
	grant("post:/devices/*")
	for _, path := range append(broadcasts, "/devices/*/notifications") {
		guest.fails("POST", path, body, 401, "unauthorized")
	}
	grant("post:/devices/notifications")
	for _, path := range broadcasts {
		guest.fails("POST", path, body, 401, "unauthorized") // it reads like the other
	}
	admin.ok("DELETE", "/roles/guest/permissions?permission="+url.QueryEscape("post:/devices/*"), "")
	for _, path := range broadcasts {
		guest.ok("POST", path, body)
	}
	guest.fails("POST", "/devices/d/notifications", body, 401, "unauthorized")
	grant("post:/devices/*/notifications")
	for _, path := range paths[1:3] {
		guest.ok("POST", path, body)
	}
	// Nobody learns what there is.
	for _, path := range []string{"/" + vendorID + "/receipts", "/" + uuidOf(t, admin.ok("GET", "/devices/d", "")) + "/receipts", "/receipts", "/notifications/x/queue"} {
		guest.fails("GET", path, "", 401, "unauthorized")
	}
}
