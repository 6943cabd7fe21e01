package collections_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/trellisdb/trellis/api/apitest"
)

// counter reads one counter; its values are "timestamp=value …".
func (r *rest) counter(query string) string {
	r.Helper()
	a := r.ok("GET", "/counters?"+query, "")
	list := countersOf(r, a)
	if len(list) != 1 {
		r.Fatalf("%s: %s", query, a.Body)
	}
	return list[0].values
}

type shownCounter struct{ name, user, group, category, values string }

func countersOf(r *rest, a apitest.Answer) (list []shownCounter) {
	r.Helper()
	var body struct {
		Counters []struct {
			Name, User, Group, Category string
			Values                      []struct{ Timestamp, Value int64 }
		}
	}
	if err := json.Unmarshal([]byte(a.Body), &body); err != nil {
		r.Fatal(err)
	}
	for _, c := range body.Counters {
		if c.Values == nil {
			r.Errorf("%s has no values: %s", c.Name, a.Body)
		}
		var values []string
		for _, v := range c.Values {
			values = append(values, fmt.Sprintf("%d=%d", v.Timestamp, v.Value))
		}
		list = append(list, shownCounter{c.Name, c.User, c.Group, c.Category, strings.Join(values, " ")})
	}
	return list
}

func (r *rest) wantCounter(query, want string) {
	r.Helper()
	if got := r.counter(query); got != want {
		r.Errorf("%s: %q, want %q", query, got, want)
	}
}

func TestCreateEvent(t *testing.T) { everywhere(t, createEvent) }

func createEvent(t *testing.T, r *rest) {
	r.token = r.Admin
	a := r.ok("POST", "/events", `{"timestamp":0,"category":"advertising","counters":{"ad_clicks":5,"errors.db.timeout":"1"},"note":{"x":[1]},
		"type":"events","uuid":"b11217fc-9d3a-11e7-b24e-699740088e05","created":1,"modified":2,"metadata":{"a":1}}`)
	e := a.Entity()
	if e["type"] != "event" || e["uuid"] == "b11217fc-9d3a-11e7-b24e-699740088e05" || number(e["created"]) < 1e12 || e["created"] != e["modified"] || e["timestamp"] != e["created"] {
		t.Errorf("system properties of %v", e)
	}
	if message, ok := e["message"]; !ok || message != nil {
		t.Errorf("message %v, %v", message, ok)
	}
	delete(e, "timestamp")
	r.wantProps(e, `{"category":"advertising","counters":{"ad_clicks":5,"errors.db.timeout":1},"message":null,"note":{"x":[1]}}`)
	if fmt.Sprint(e["metadata"]) != fmt.Sprintf("map[path:/events/%s]", e["uuid"]) || a.Fields["path"] != "/events" || a.Fields["uri"] != r.URL+r.App+"/events" {
		t.Errorf("envelope %s", a.Body)
	}
	for name, want := range map[string]string{"ad_clicks": "1=5", "errors.db.timeout": "1=1", "errors.db": "1=1", "errors": "1=1", "AD_Clicks": "1=5", "ad_clicks:::advertising": "1=5", "ad_clicks:::other": "", "nothing": ""} {
		r.wantCounter("counter="+name, want)
	}
	// Decrements, names in any case, the alias, and PUT without an id.
	r.ok("POST", "/event", `{"timestamp":1500000000000,"counters":{"AD_CLICKS":-2,"ad_clicks":1},"message":"hi"}`)
	r.wantCounter("counter=ad_clicks", "1=4")
	if got := r.ok("PUT", "/events", `{"timestamp":1500000000000,"counters":{"ad_clicks":1},"message":7}`); got.Entity()["message"] != "7" {
		t.Errorf("put: %s", got.Body)
	}
	r.wantCounter("counter=ad_clicks", "1=5")
	// Of the application, and system's bare name.
	r.ok("POST", "/events", `{"timestamp":1,"counters":{"system":5,"system.load":3}}`)
	r.wantCounter("counter=system", "")
	r.wantCounter("counter=system.load", "1=3")
	r.wantCounter("counter=application.collection.events", "1=4")
	// Events without anything to count are events.
	for _, body := range []string{`{"timestamp":1}`, `{"timestamp":"12","counters":{}}`, `{"timestamp":-5,"counters":null,"category":"","user":null}`, `{"timestamp":9223372036854775807,"counters":{"far":1}}`} {
		r.ok("POST", "/events", body)
	}
	r.wantCounter("counter=far", "1=1")
}

func TestBadEvents(t *testing.T) { everywhere(t, badEvents) }

func badEvents(t *testing.T, r *rest) {
	r.token = r.Admin
	deep := strings.Repeat("a.", 16) + "a"
	many := make([]string, 65)
	for i := range many {
		many[i] = fmt.Sprintf(`"n%d":1`, i)
	}
	for _, tc := range []struct{ body, code string }{
		{`{"counters":{"a":1}}`, "required_property_not_found"},
		{`{}`, "required_property_not_found"},
		{``, "required_property_not_found"},
		{`{"timestamp":null}`, "required_property_not_found"},
		{`{"timestamp":""}`, "required_property_not_found"},
		{`{"timestamp":"soon"}`, "property_type_conversion"},
		{`{"timestamp":1.5}`, "property_type_conversion"},
		{`{"timestamp":true}`, "property_type_conversion"},
		{`{"timestamp":1e300}`, "property_type_conversion"},
		{`{"timestamp":[1]}`, "property_type_conversion"},
		{`{"timestamp":1,"counters":[]}`, "property_type_conversion"},
		{`{"timestamp":1,"counters":"a"}`, "property_type_conversion"},
		{`{"timestamp":1,"counters":7}`, "property_type_conversion"},
		{`{"timestamp":1,"counters":{"a":1.5}}`, "property_type_conversion"},
		{`{"timestamp":1,"counters":{"a":null}}`, "property_type_conversion"},
		{`{"timestamp":1,"counters":{"a":""}}`, "property_type_conversion"},
		{`{"timestamp":1,"counters":{"a":"x"}}`, "property_type_conversion"},
		{`{"timestamp":1,"counters":{"a":{}}}`, "property_type_conversion"},
		{`{"timestamp":1,"counters":{"a":true}}`, "property_type_conversion"},
		{`{"timestamp":1,"counters":{"a":9223372036854775808}}`, "property_type_conversion"},
		{`{"timestamp":1,"counters":{"":1}}`, "illegal_argument"},
		{`{"timestamp":1,"counters":{"a..b":1}}`, "illegal_argument"},
		{`{"timestamp":1,"counters":{".":1}}`, "illegal_argument"},
		{`{"timestamp":1,"counters":{"a:b":1}}`, "illegal_argument"},
		{`{"timestamp":1,"counters":{"` + deep + `":1}}`, "illegal_argument"},
		{`{"timestamp":1,"counters":{"` + strings.Repeat("x", 257) + `":1}}`, "illegal_argument"},
		{`{"timestamp":1,"counters":{` + strings.Join(many, ",") + `}}`, "illegal_argument"},
		{`{"timestamp":1,"category":"` + strings.Repeat("x", 257) + `"}`, "illegal_argument"},
		{`{"timestamp":1,"category":{}}`, "property_type_conversion"},
		{`{"timestamp":1,"message":[]}`, "property_type_conversion"},
		{`{"timestamp":1,"user":"ann"}`, "property_type_conversion"},
		{`{"timestamp":1,"group":7}`, "property_type_conversion"},
		{`{"timestamp":`, "json_parse"},
		{`"event"`, "json_mapping"},
		{`["event"]`, "illegal_argument"},
	} {
		r.fails("POST", "/events", tc.body, 400, tc.code)
	}
	r.fails("PUT", "/events", `[{"timestamp":1}]`, 400, "json_mapping")
	a := r.ok("GET", "/counters", "")
	for _, name := range a.Fields["data"].([]any) {
		if !strings.HasPrefix(fmt.Sprint(name), "application.") {
			t.Errorf("a refused event has counted %v", name)
		}
	}
	// The largest there is.
	r.ok("POST", "/events", fmt.Sprintf(`{"timestamp":1,"category":"%s","counters":{"%s":1,%s}}`, strings.Repeat("c", 256), deep[2:], strings.Join(many[:63], ",")))
}

func TestEventsInABatch(t *testing.T) { everywhere(t, eventsInABatch) }

func eventsInABatch(t *testing.T, r *rest) {
	r.token = r.Admin
	a := r.ok("POST", "/events", `[{"timestamp":1,"message":"one","counters":{"a":1}},{"counters":{"a":10}},{"timestamp":1,"counters":{"a":"x"}},{"timestamp":2,"message":"two","counters":{"a":100}}]`)
	if e := a.Entities(); len(e) != 2 || e[0]["message"] != "one" || e[1]["message"] != "two" {
		t.Errorf("created %s", a.Body)
	}
	if got := fmt.Sprint(a.Fields["errors"]); !strings.Contains(got, "index:1") || !strings.Contains(got, "index:2") || !strings.Contains(got, "required_property_not_found") {
		t.Errorf("errors %s", got)
	}
	r.wantCounter("counter=a", "1=101")
	r.ok("POST", "/events", `[]`)
	r.fails("POST", "/events", `["a"]`, 400, "illegal_argument")
	r.fails("POST", "/events", "["+strings.Repeat(`{"timestamp":1},`, 1000)+`{"timestamp":1}]`, 400, "illegal_argument")

	// More than one command may count: it takes several, and each counts once.
	var names []string
	for i := range 60 {
		names = append(names, fmt.Sprintf(`"x.y.z.w.n%d":1`, i))
	}
	event := fmt.Sprintf(`{"timestamp":1,"user":"%s","category":"c","counters":{%s}}`, "b11217fc-9d3a-11e7-b24e-699740088e05", strings.Join(names, ","))
	body := "[" + strings.Repeat(event+",", 19) + `{"timestamp":0,"message":"last"}]`
	for range 2 {
		req, err := http.NewRequest("POST", r.URL+r.App+"/events", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+r.Admin)
		req.Header.Set("Idempotency-Key", "batch")
		got, err := r.Send(req)
		if err != nil || got.Status != 200 || len(got.Entities()) != 20 || got.Entities()[19]["message"] != "last" {
			t.Fatalf("%v %d entities: %.300s", err, len(got.Entities()), got.Body)
		}
	}
	r.wantCounter("counter=x", "1=1140")
	r.wantCounter("counter=x.y.z.w.n59", "1=19")
}

// TestQueueOfEvents: item 7 of the checklist.
func TestQueueOfEvents(t *testing.T) { everywhere(t, queueOfEvents) }

func queueOfEvents(t *testing.T, r *rest) {
	r.token = r.Admin
	if a := r.ok("GET", "/events", ""); fmt.Sprint(a.Fields["messages"]) != "[]" || a.Fields["last"] != nil || len(a.Entities()) != 0 {
		t.Errorf("of no events: %s", a.Body)
	}
	for i := range 5 {
		r.ok("POST", "/events", fmt.Sprintf(`{"timestamp":%d,"category":"c","n":%d,"message":"m%d"}`, 1000-i, i, i))
	}
	r.ok("POST", "/events", `{"timestamp":5,"n":5}`)
	message := func(a apitest.Answer) map[string]any {
		list := a.Fields["messages"].([]any)
		if len(list) == 0 {
			return map[string]any{}
		}
		return list[0].(map[string]any)
	}
	for range 3 {
		if a := r.ok("GET", "/events", ""); message(a)["message"] != "m0" || len(a.Entities()) != 1 || a.Fields["last"] != a.Entity()["uuid"] || number(a.Fields["count"]) != 1 {
			t.Errorf("without last: %s", a.Body)
		}
	}
	last := ""
	var seen []string
	for range 7 {
		a := r.ok("GET", "/events?last="+last, "")
		if m := message(a); len(m) > 0 {
			seen = append(seen, fmt.Sprint(a.Entity()["n"]))
			if m["uuid"] != a.Entity()["uuid"] || m["type"] != "event" || m["timestamp"] != a.Entity()["timestamp"] || m["message"] != a.Entity()["message"] || m["n"] != nil {
				t.Errorf("message %v of %v", m, a.Entity())
			}
		} else if a.Fields["last"] != last {
			t.Errorf("after the end: %s, last was %s", a.Body, last)
		}
		last = fmt.Sprint(a.Fields["last"])
	}
	if got := strings.Join(seen, " "); got != "0 1 2 3 4 5" {
		t.Errorf("walked %s", got)
	}
	all := r.ok("GET", "/event?limit=1000", "")
	var ids, ns []string
	for _, e := range all.Entities() {
		ids, ns = append(ids, fmt.Sprint(e["uuid"])), append(ns, fmt.Sprint(e["n"]))
	}
	if strings.Join(ns, " ") != "0 1 2 3 4 5" || len(all.Fields["messages"].([]any)) != 6 || all.Fields["last"] != ids[5] {
		t.Errorf("all: %s", all.Body)
	}
	if a := r.ok("GET", "/events?limit=2&last="+strings.ToUpper(ids[3]), ""); fmt.Sprint(a.Entity()["n"]) != "4" || len(a.Entities()) != 2 || a.Fields["last"] != ids[5] {
		t.Errorf("two after the fourth: %s", a.Body)
	}
	r.fails("GET", "/events?last=x", "", 400, "illegal_argument")
	r.fails("GET", "/events?last=b11217fc-9d3a-41e7-b24e-699740088e05", "", 404, "entity_not_found") // no time in it
	if a := r.ok("GET", "/events?last=00000000-0000-7000-8000-000000000001", ""); fmt.Sprint(a.Entity()["n"]) != "0" {
		t.Errorf("after one of before: %s", a.Body)
	}
	if a := r.ok("GET", "/events?last=7fffffff-ffff-7fff-bfff-ffffffffffff", ""); len(a.Entities()) != 0 {
		t.Errorf("after one of later: %s", a.Body)
	}
	// As a collection: ten, newest first, with queries and cursors.
	if a := r.ok("GET", "/events?ql=", ""); len(a.Entities()) != 6 || fmt.Sprint(a.Entity()["n"]) != "5" || a.Fields["messages"] != nil {
		t.Errorf("listing: %s", a.Body)
	}
	if a := r.ok("GET", "/events?ql="+url.QueryEscape("select * where n > 2 and timestamp < 998"), ""); len(a.Entities()) != 3 {
		t.Errorf("query: %s", a.Body)
	}
	page := r.ok("GET", "/events?limit=4&ql="+url.QueryEscape("order by n"), "")
	if rest := r.ok("GET", "/events?limit=4&ql="+url.QueryEscape("order by n")+"&cursor="+page.Cursor(), ""); len(rest.Entities()) != 2 {
		t.Errorf("second page: %s", rest.Body)
	}
	if a := r.ok("GET", "/events/"+ids[2], ""); fmt.Sprint(a.Entity()["n"]) != "2" || len(a.Entities()) != 1 {
		t.Errorf("one: %s", a.Body)
	}
	r.fails("GET", "/events/b11217fc-9d3a-11e7-b24e-699740088e05", "", 404, "entity_not_found")
	r.fails("GET", "/events/m0", "", 404, "entity_not_found")
	if !slices.IsSorted(ids) {
		t.Errorf("ids %v", ids)
	}
}

func TestEventsStay(t *testing.T) { everywhere(t, eventsStay) }

func eventsStay(t *testing.T, r *rest) {
	r.token = r.Admin
	id := fmt.Sprint(r.ok("POST", "/events", `{"timestamp":1,"message":"m","counters":{"a":1}}`).Entity()["uuid"])
	for _, path := range []string{"/events", "/events/" + id, "/events?ql=", "/events?limit=10", "/events/all", "/event/none"} {
		r.fails("DELETE", path, "", 405, "unsupported_service_operation")
	}
	r.fails("PUT", "/events?ql=", `{"a":1}`, 405, "unsupported_service_operation")
	r.fails("PUT", "/events/all", `{"a":1}`, 405, "unsupported_service_operation")

	// PUT of one counts what it brings, and changes nothing.
	before := r.ok("GET", "/events/"+id, "").Entity()
	a := r.ok("PUT", "/events/"+id, `{"timestamp":1500000000000,"message":"other","category":"c","counters":{"a":5,"b":1},"uuid":"x","created":5}`)
	r.wantProps(a.Entity(), `{"counters":{"a":1},"message":"m","timestamp":1}`)
	if got := r.ok("GET", "/events/"+id, "").Entity(); fmt.Sprint(got) != fmt.Sprint(before) {
		t.Errorf("%v became %v", before, got)
	}
	r.wantCounter("counter=a", "1=6")
	r.wantCounter("counter=a:::c&resolution=day", "1499990400000=5")
	r.ok("PUT", "/events/"+id, `{"counters":{"a":1}}`)
	r.ok("PUT", "/events/"+id, `{}`)
	r.wantCounter("counter=a", "1=7")
	r.fails("PUT", "/events/"+id, `{"counters":{"a":"x"}}`, 400, "property_type_conversion")
	r.fails("PUT", "/events/"+id, `[]`, 400, "json_mapping")
	r.fails("PUT", "/events/"+id, ``, 400, "json_parse")

	// Of an unknown UUID it creates.
	const other = "0a0a0a0a-9d3a-11e7-b24e-699740088e05"
	r.fails("PUT", "/events/"+other, `{"counters":{"a":1}}`, 400, "required_property_not_found")
	r.fails("PUT", "/events/name", `{"timestamp":1}`, 404, "service_resource_not_found")
	if a := r.ok("PUT", "/events/"+other, `{"timestamp":5,"counters":{"a":1}}`); a.Entity()["uuid"] != other || props(a.Entity()) != `{"counters":{"a":1},"message":null,"timestamp":5}` {
		t.Errorf("created %s", a.Body)
	}
	r.wantCounter("counter=a", "1=8")
	item := fmt.Sprint(r.ok("POST", "/items", `{"name":"i"}`).Entity()["uuid"])
	r.fails("PUT", "/events/"+item, `{"timestamp":1,"counters":{"a":1}}`, 400, "unexpected_entity_type")
	r.wantCounter("counter=a", "1=8")

	// POST to one reads it. Nothing gets round the counting by way of a connection.
	r.ok("POST", "/events/"+id, `{"counters":{"a":1}}`)
	r.fails("POST", "/events/"+item, ``, 400, "unexpected_entity_type")
	r.ok("POST", "/items/i/saw/events/"+id, "")
	r.fails("POST", "/items/i/saw/events", `{"timestamp":1,"counters":{"a":1}}`, 405, "unsupported_service_operation")
	r.fails("PUT", "/items/i/saw/events/"+id, `{"message":"other"}`, 405, "unsupported_service_operation")
	r.fails("POST", "/items/i/saw/counters", `{"a":1}`, 501, "not_implemented")
	if got := r.ok("GET", "/events/"+id, "").Entity(); got["message"] != "m" {
		t.Errorf("changed to %v", got)
	}
	r.wantCounter("counter=a", "1=8")
}

// TestEventsTakePermissions: as any collection; who may not is not told what there is.
func TestEventsTakePermissions(t *testing.T) {
	guest, admin := closed(t)
	id := fmt.Sprint(admin.ok("POST", "/events", `{"timestamp":1,"counters":{"a":1}}`).Entity()["uuid"])
	for _, path := range []string{"/events", "/events/" + id, "/events/x", "/counters", "/counters?counter=a", "/counters/a"} {
		for _, method := range []string{"GET", "POST", "PUT", "DELETE"} {
			body := ""
			if method == "POST" || method == "PUT" {
				body = `{"timestamp":1}`
			}
			guest.fails(method, path, body, 401, "unauthorized")
		}
	}
	admin.ok("POST", "/roles/guest/permissions", `{"permission":"post:/events"}`)
	guest.ok("POST", "/events", `{"timestamp":1,"counters":{"a":1}}`)
	guest.fails("GET", "/events", "", 401, "unauthorized")
	guest.fails("PUT", "/events/"+id, `{"counters":{"a":1}}`, 401, "unauthorized")
	guest.fails("GET", "/counters?counter=a", "", 401, "unauthorized")
	admin.ok("POST", "/roles/guest/permissions", `{"permission":"get:/counters"}`)
	guest.wantCounter("counter=a", "1=2")
}
