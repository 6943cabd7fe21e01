package collections_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/trellisdb/trellis/api/apitest"
)

// user makes a user and returns his UUID.
func (r *rest) user(name string) string {
	r.Helper()
	return fmt.Sprint(r.ok("POST", "/users", fmt.Sprintf(`{"username":%q,"email":"%s@example.test","password":"sunny-day-9"}`, name, name)).Entity()["uuid"])
}

// say posts an activity with a content, and returns its UUID.
func (r *rest) say(path, content string) string {
	r.Helper()
	a := r.ok("POST", path, fmt.Sprintf(`{"actor":{"displayName":"x"},"verb":"post","content":%q}`, content))
	return fmt.Sprint(a.Entity()["uuid"])
}

// contents are those of the activities in an answer.
func contents(a apitest.Answer) string {
	var list []string
	for _, e := range a.Entities() {
		list = append(list, fmt.Sprint(e["content"]))
	}
	return strings.Join(list, " ")
}

// wantList checks what is in a list, in its order.
func (r *rest) wantList(path, want string) apitest.Answer {
	r.Helper()
	a := r.ok("GET", path, "")
	if got := contents(a); got != want {
		r.Errorf("%s: %q, want %q", path, got, want)
	}
	return a
}

func TestActorIsFilled(t *testing.T) { everywhere(t, actorIsFilled) }

func actorIsFilled(t *testing.T, r *rest) {
	id := r.user("ana")
	full := func(body string) map[string]any {
		t.Helper()
		e := r.ok("POST", "/users/ana/activities", body).Entity()
		actor, ok := e["actor"].(map[string]any)
		if !ok || e["type"] != "activity" || e["published"] != e["created"] {
			t.Fatalf("activity %v", e)
		}
		return actor
	}
	picture := r.ok("GET", "/users/ana", "").Entity()["picture"]
	actor := full(`{"verb":"post","content":"x","type":"users/ana/activities"}`)
	want := map[string]any{"uuid": id, "email": "ana@example.test", "username": "ana", "displayName": "ana", "picture": picture, "entityType": "user", "objectType": "person"}
	if fmt.Sprint(actor) != fmt.Sprint(want) {
		t.Errorf("actor %v, want %v", actor, want)
	}
	actor = full(`{"verb":"POST","actor":{"displayName":"Ana Ruiz","username":"ana","summary":null,"image":{"url":"http://img.example.test/a.png","width":80,"height":80,"email":"e"}}}`)
	if got := fmt.Sprint(actor); got != "map[displayName:Ana Ruiz email:ana@example.test image:map[duration:0 email:e height:80 url:http://img.example.test/a.png width:80] username:ana uuid:"+id+"]" {
		t.Errorf("partial actor: %s", got)
	}
	const other = "0a070000-5e11-11e7-8000-0242ac110002"
	actor = full(`{"verb":"go","actor":{"uuid":"` + other + `","email":"bo@example.test"}}`)
	if got := fmt.Sprint(actor); got != "map[email:bo@example.test uuid:"+other+"]" {
		t.Errorf("another's actor: %s", got)
	}
	actor = full(`{"verb":"go","actor":{"uuid":null}}`)
	if got := fmt.Sprint(actor); got != "map[email:ana@example.test uuid:"+id+"]" {
		t.Errorf("actor without members: %s", got)
	}
	// The flat form: what the owner says goes first.
	actor = full(`{"verb":"go","displayName":"Flat","image":{"url":"u"},"uuid":"` + other + `"}`)
	if actor["uuid"] != id || actor["displayName"] != "ana" || fmt.Sprint(actor["image"]) != "map[duration:0 height:0 url:u width:0]" {
		t.Errorf("flat actor of a user: %v", actor)
	}
	e := r.ok("POST", "/activities", `{"verb":"go","displayName":"Flat","username":"f","uuid":"`+other+`","email":"f@example.test"}`).Entity()
	if fmt.Sprint(e["actor"]) != "map[displayName:Flat email:f@example.test username:f uuid:"+other+"]" || e["displayName"] != "Flat" || e["uuid"] == other {
		t.Errorf("flat activity %v", e)
	}
	// One named by e-mail, and a user without one.
	r.ok("POST", "/users", `{"username":"plain","name":"Plain P"}`)
	e = r.ok("POST", "/user/plain/activity", `{"verb":"go"}`).Entity()
	if actor := e["actor"].(map[string]any); actor["displayName"] != "Plain P" || actor["email"] != nil {
		t.Errorf("actor of one without an address: %v", actor)
	}
	a := r.ok("POST", "/users/ana@example.test/activities", `{"verb":"go"}`)
	if a.Fields["path"] != "/users/"+id+"/activities" || !strings.HasSuffix(fmt.Sprint(a.Fields["uri"]), r.App+"/users/"+id+"/activities") {
		t.Errorf("envelope %s", a.Body)
	}
	if got := fmt.Sprint(a.Entity()["metadata"]); got != fmt.Sprintf("map[path:/users/%s/activities/%s]", id, a.Entity()["uuid"]) {
		t.Errorf("metadata %s", got)
	}
}

func TestActivitiesAreValidated(t *testing.T) { everywhere(t, activitiesAreValidated) }

func activitiesAreValidated(t *testing.T, r *rest) {
	r.user("ana")
	r.ok("POST", "/groups", `{"path":"farm/north"}`)
	for _, path := range []string{"/activities", "/groups/farm/north/activities", "/users/ana/feed"} {
		r.fails("POST", path, `{"verb":"post","content":"x"}`, 400, "required_property_not_found")
		r.fails("POST", path, `{"actor":null,"verb":"post"}`, 400, "required_property_not_found")
		r.fails("POST", path, `{"actor":{"displayName":"x"},"content":"x"}`, 400, "required_property_not_found")
		r.fails("POST", path, `{}`, 400, "required_property_not_found")
		r.fails("POST", path, ``, 400, "required_property_not_found")
	}
	const outbox = "/users/ana/activities"
	r.fails("POST", outbox, ``, 400, "required_property_not_found")
	r.fails("POST", outbox, `{"content":"x"}`, 400, "required_property_not_found")
	r.fails("POST", outbox, `{"verb":"post","actor":"ana"}`, 400, "illegal_argument")
	r.fails("POST", outbox, `{"verb":"post","actor":[{"uuid":1}]}`, 400, "illegal_argument")
	r.fails("POST", outbox, `{"verb":"post","actor":{"uuid":"me"}}`, 400, "illegal_argument")
	r.fails("POST", outbox, `{"verb":"post","object":{"attachments":[{"uuid":5}]}}`, 400, "illegal_argument")
	r.fails("POST", outbox, `{"verb":"post","published":"soon"}`, 400, "property_type_conversion")
	r.fails("POST", outbox, `"x"`, 400, "json_mapping")
	r.fails("POST", "/users/nobody/activities", `{"verb":"post"}`, 404, "service_resource_not_found")
	r.fails("GET", "/users/nobody/feed", ``, 404, "service_resource_not_found")
	r.fails("POST", "/groups/none/activities", `{"actor":{"a":1},"verb":"post"}`, 404, "service_resource_not_found")
	r.fails("GET", "/groups/none/activities", ``, 404, "entity_not_found")
	r.fails("GET", "/users/me/feed", ``, 404, "service_resource_not_found")
	r.fails("DELETE", outbox, ``, 405, "unsupported_service_operation")
	r.fails("PUT", outbox, `{"a":1}`, 405, "unsupported_service_operation")
	r.fails("POST", outbox+"?x=1;ql=y", ``, 400, "required_property_not_found")
	r.fails("POST", outbox+"/0a070000-5e11-11e7-8000-0242ac110002", ``, 404, "service_resource_not_found")
	r.fails("GET", outbox+"/0a070000-5e11-11e7-8000-0242ac110002", ``, 404, "service_resource_not_found")
	r.fails("GET", outbox+"/name", ``, 404, "service_resource_not_found")
	r.wantList(outbox, "")
	r.wantList("/activities", "")
	e := r.ok("POST", outbox, `{"verb":"post","object":{"id":null,"author":{"displayName":null,"image":{"url":"u","width":null}},"attachments":[{"url":"v","x":null}]},"icon":{"url":"i"},"custom":{"n":null}}`).Entity()
	if got := fmt.Sprint(e["object"], e["icon"], e["custom"]); got != "map[attachments:[map[url:v]] author:map[image:map[duration:0 height:0 url:u width:0]]] map[duration:0 height:0 url:i width:0] map[n:<nil>]" {
		t.Errorf("objects of the activity: %s", got)
	}
	// The published time a client gives is honoured, whatever it is.
	for _, published := range []string{"0", "-5", "9223372036854775807", `"12"`, "12.0"} {
		e := r.ok("POST", outbox, `{"verb":"post","published":`+published+`}`).Entity()
		if want := strings.TrimSuffix(strings.Trim(published, `"`), ".0"); fmt.Sprint(e["published"]) != want {
			t.Errorf("published %v, want %s", e["published"], want)
		}
	}
}

// TestExampleOfAPost is section 2.3 of the page on activities.
func TestExampleOfAPost(t *testing.T) { everywhere(t, exampleOfAPost) }

func exampleOfAPost(t *testing.T, r *rest) {
	id := r.user("ana")
	a := r.ok("POST", "/users/ana/activities", `{ "actor": { "displayName": "Ana Ruiz", "username": "ana",
		"image": { "url": "http://img.example.test/a.png", "width": 80, "height": 80, "duration": 0 } },
		"verb": "post", "content": "Harvest is in", "category": "farm" }`)
	e := a.Entity()
	delete(e, "published")
	r.wantProps(e, `{"actor":{"displayName":"Ana Ruiz","email":"ana@example.test","image":{"duration":0,"height":80,"url":"http://img.example.test/a.png","width":80},"username":"ana","uuid":"`+id+`"},"category":"farm","content":"Harvest is in","verb":"post"}`)
	b := r.ok("GET", "/users/ana/feed?limit=1", "")
	metadata := b.Entity()["metadata"].(map[string]any)
	if metadata["path"] != fmt.Sprintf("/users/%s/feed/%s", id, e["uuid"]) || metadata["cursor"] == nil || b.Cursor() != "" || b.Fields["path"] != "/users/"+id+"/feed" {
		t.Errorf("feed %s", b.Body)
	}
	for _, path := range []string{"/activities", "/users/ana/activities", "/users/ana/feed"} {
		one := r.ok("GET", path+"/"+fmt.Sprint(e["uuid"]), "")
		if one.Entity()["content"] != "Harvest is in" {
			t.Errorf("%s: %s", path, one.Body)
		}
		// Clients that go on from any entry find the envelope's cursor and the entry's alike.
		list := r.ok("GET", path, "")
		if m, ok := list.Entity()["metadata"].(map[string]any); !ok || m["cursor"] == nil {
			t.Errorf("%s has no cursor of an entry: %s", path, list.Body)
		}
	}
}

func TestFollowersSeeWhatIsPosted(t *testing.T) { everywhere(t, followersSeeWhatIsPosted) }

func followersSeeWhatIsPosted(t *testing.T, r *rest) {
	for _, name := range []string{"ana", "bo", "cy", "dee", "eve"} {
		r.user(name)
	}
	r.say("/users/ana/activities", "old1")
	r.say("/users/ana/activities", "old2")
	r.say("/users/dee/activities", "other")
	r.ok("POST", "/users/ana/following/users/dee", "") // what ana sees nobody gets through her
	r.ok("POST", "/users/cy/following/users/bo", "")
	follow := r.ok("POST", "/users/bo/following/users/ana", "")
	if follow.Entity()["username"] != "ana" {
		t.Errorf("follow: %s", follow.Body)
	}
	r.wantList("/users/bo/feed", "old2 old1")
	r.ok("POST", "/users/bo/following/users/ana", "")
	r.wantList("/users/bo/feed", "old2 old1")
	r.ok("POST", "/users/eve/following/ana", "")
	r.wantList("/users/eve/feed", "old2 old1")
	r.say("/users/ana/activities", "new")
	r.wantList("/users/ana/feed", "new other old2 old1")
	r.wantList("/users/ana/activities", "new old2 old1")
	r.wantList("/users/bo/feed", "new old2 old1")
	r.wantList("/users/cy/feed", "")
	r.wantList("/users/dee/feed", "other")
	r.wantList("/users/bo/activities", "")
	r.wantList("/activities", "new other old2 old1")
	// Who has gone keeps what he had, and gets nothing more.
	r.ok("DELETE", "/users/bo/following/users/ana", "")
	r.say("/users/ana/activities", "late")
	r.wantList("/users/bo/feed", "new old2 old1")
	r.wantList("/users/eve/feed", "late new old2 old1")
	// What was published long ago does not jump to the top.
	r.ok("POST", "/users/ana/activities", `{"verb":"post","content":"ancient","published":5}`)
	r.wantList("/users/eve/feed", "late new old2 old1 ancient")
	r.ok("POST", "/users/bo/following/users/ana", "")
	r.wantList("/users/bo/feed", "late new old2 old1 ancient")
	// Things may follow too, but have no feed.
	r.ok("POST", "/things", `{"name":"t"}`)
	r.ok("POST", "/things/t/following/users/ana", "")
	r.say("/users/ana/activities", "again")
	r.wantList("/users/eve/feed", "again late new old2 old1 ancient")
	// A follower that is created in the same step.
	made := r.ok("POST", "/users/eve/following/users", `{"username":"fay"}`).Entity()
	if made["username"] != "fay" {
		t.Errorf("made %v", made)
	}
	r.say("/users/fay/activities", "hello")
	r.wantList("/users/eve/feed?limit=1", "hello")
}

func TestGroupsSeeWhatIsPosted(t *testing.T) { everywhere(t, groupsSeeWhatIsPosted) }

func groupsSeeWhatIsPosted(t *testing.T, r *rest) {
	for _, name := range []string{"ana", "bo", "cy", "dee", "eve"} {
		r.user(name)
	}
	group := fmt.Sprint(r.ok("POST", "/groups", `{"path":"farm/north"}`).Entity()["uuid"])
	r.ok("POST", "/groups", `{"path":"farm"}`)
	for _, name := range []string{"ana", "bo", "cy"} {
		r.ok("POST", "/groups/farm/north/users/"+name, "")
	}
	r.ok("POST", "/users/dee/following/users/bo", "")
	r.ok("POST", "/users/dee/following/users/ana", "")
	r.ok("POST", "/users/bo/following/users/ana", "")
	a := r.ok("POST", "/groups/farm/north/activities", `{"actor":{"displayName":"North"},"verb":"post","content":"group"}`)
	if a.Fields["path"] != "/groups/"+group+"/activities" {
		t.Errorf("path %v", a.Fields["path"])
	}
	for _, path := range []string{"/groups/farm/north/activities", "/groups/farm/north/feed", "/users/ana/feed", "/users/bo/feed", "/users/cy/feed", "/activities"} {
		r.wantList(path, "group")
	}
	for _, path := range []string{"/groups/farm/activities", "/groups/farm/feed", "/users/dee/feed", "/users/eve/feed", "/users/ana/activities"} {
		r.wantList(path, "")
	}
	// A user inside the group: who is in it and follows him.
	inside := r.ok("POST", "/group/farm/north/user/ana/activities", `{"verb":"post","content":"inside"}`)
	ana := fmt.Sprint(r.ok("GET", "/users/ana", "").Entity()["uuid"])
	if inside.Fields["path"] != "/groups/"+group+"/users/"+ana+"/activities" {
		t.Errorf("path %v", inside.Fields["path"])
	}
	r.wantList("/users/ana/activities", "inside")
	r.wantList("/groups/farm/north/users/ana/activities", "inside")
	r.wantList("/users/ana/feed", "inside group")
	r.wantList("/users/bo/feed", "inside group")
	r.wantList("/users/cy/feed", "group")
	r.wantList("/users/dee/feed", "")
	r.wantList("/groups/farm/north/feed", "group")
	r.wantList("/groups/farm/north/activities", "group")
	r.fails("POST", "/groups/farm/north/users/dee/activities", `{"verb":"post"}`, 404, "service_resource_not_found")
	r.fails("POST", "/groups/farm/north/users/nobody/activities", `{"verb":"post"}`, 404, "service_resource_not_found")
	r.fails("GET", "/groups/farm/north/users/dee/activities", ``, 404, "service_resource_not_found")
	// Who joins later gets nothing of before.
	r.ok("POST", "/groups/farm/north/users/eve", "")
	r.wantList("/users/eve/feed", "")
	// The same activity by another way is there once.
	id := fmt.Sprint(inside.Entity()["uuid"])
	linked := r.ok("POST", "/groups/farm/north/activities/"+id, `{"ignored":true}`)
	if linked.Entity()["uuid"] != id || linked.Entity()["ignored"] != nil {
		t.Errorf("linked %s", linked.Body)
	}
	r.wantList("/groups/farm/north/activities", "inside group")
	r.wantList("/users/bo/feed", "inside group")
	r.wantList("/users/eve/feed", "inside")
	r.ok("POST", "/users/bo/activities/"+id, "")
	r.wantList("/users/dee/feed", "inside")
	r.wantList("/users/bo/activities", "inside")
	r.ok("POST", "/groups/farm/north/users/cy/activities/"+id, "")
	r.wantList("/users/cy/feed", "inside group")
	r.ok("POST", "/groups/farm/feed/"+id, "")
	r.wantList("/groups/farm/feed", "inside")
	r.wantList("/groups/farm/activities", "")
	r.wantList("/activities", "inside group")
}

func TestPostToAFeedStaysThere(t *testing.T) { everywhere(t, postToAFeedStaysThere) }

func postToAFeedStaysThere(t *testing.T, r *rest) {
	r.user("ana")
	r.user("bo")
	r.ok("POST", "/users/bo/following/users/ana", "")
	r.ok("POST", "/groups", `{"path":"g"}`)
	r.ok("POST", "/groups/g/users/bo", "")
	r.say("/users/ana/feed", "mine")
	r.say("/groups/g/feed", "ours")
	r.say("/activities", "nobody's")
	r.wantList("/users/ana/feed", "mine")
	r.wantList("/groups/g/feed", "ours")
	for _, path := range []string{"/users/ana/activities", "/users/bo/feed", "/groups/g/activities"} {
		r.wantList(path, "")
	}
	r.wantList("/activities", "nobody's ours mine")
}

func TestArraysOfActivities(t *testing.T) { everywhere(t, arraysOfActivities) }

func arraysOfActivities(t *testing.T, r *rest) {
	r.user("ana")
	r.user("bo")
	r.ok("POST", "/users/bo/following/users/ana", "")
	a := r.ok("POST", "/users/ana/activities", `[{"verb":"post","content":"one"},{"content":"no verb"},{"verb":"post","content":"two"},{"verb":"post","actor":7}]`)
	if contents(a) != "one two" {
		t.Errorf("created %s", a.Body)
	}
	var body struct{ Errors []struct{ Index int } }
	if err := json.Unmarshal([]byte(a.Body), &body); err != nil || len(body.Errors) != 2 || body.Errors[0].Index != 1 || body.Errors[1].Index != 3 {
		t.Errorf("errors of %s, %v", a.Body, err)
	}
	r.wantList("/users/bo/feed", "two one")
	r.fails("POST", "/users/ana/activities", `[1]`, 400, "illegal_argument")
	r.ok("POST", "/users/ana/activities", `[]`)
	a = r.ok("POST", "/activities", `[{"verb":"post","actor":{"displayName":"x"},"content":"three"},{"verb":"post"}]`)
	if contents(a) != "three" {
		t.Errorf("created %s", a.Body)
	}
}

func TestActivitiesAreChanged(t *testing.T) { everywhere(t, activitiesAreChanged) }

func activitiesAreChanged(t *testing.T, r *rest) {
	r.user("ana")
	id := r.say("/users/ana/activities", "first")
	r.say("/users/ana/activities", "second")
	before := r.ok("GET", "/activities/"+id, "").Entity()
	for i, path := range []string{"/activities/", "/users/ana/activities/", "/users/ana/feed/"} {
		after := r.ok("PUT", path+id, fmt.Sprintf(`{"verb":"no","actor":{"uuid":"x"},"published":1,"content":null,"title":"t","generator":{"url":"g%d","x":null},"mood":"m%d"}`, i, i)).Entity()
		if after["verb"] != "post" || fmt.Sprint(after["actor"]) != fmt.Sprint(before["actor"]) || after["published"] != before["published"] || after["content"] != "first" || after["title"] != nil {
			t.Errorf("%s: %v", path, after)
		}
		if after["mood"] != fmt.Sprintf("m%d", i) || fmt.Sprint(after["generator"]) != fmt.Sprintf("map[url:g%d]", i) || number(after["modified"]) <= number(before["modified"]) {
			t.Errorf("%s: %v", path, after)
		}
	}
	r.wantList("/users/ana/feed", "second first")
	r.fails("PUT", "/activities/"+id, `{"generator":{"uuid":"x"}}`, 400, "illegal_argument")
	r.fails("PUT", "/users/ana/feed/0a070000-5e11-11e7-8000-0242ac110002", `{"a":1}`, 404, "service_resource_not_found")
	if n := len(r.ok("PUT", "/activities?ql=", `{"actor":{"x":1},"mass":true}`).Entities()); n != 2 {
		t.Errorf("%d changed", n)
	}
	r.ok("PUT", "/users/ana/activities?ql="+url.QueryEscape("content='first'"), `{"mass":false}`)
	if got := contents(r.ok("GET", "/activities?ql="+url.QueryEscape("mass=true"), "")); got != "second" {
		t.Errorf("mass update: %s", got)
	}
	r.fails("PUT", "/users/ana/activities?ql="+url.QueryEscape("content='none'"), `{"a":1}`, 404, "service_resource_not_found")
	// One that a client names.
	e := r.ok("PUT", "/activities/0a070000-5e11-11e7-8000-0242ac110002", `{"verb":"put","actor":{"displayName":"x"}}`).Entity()
	if e["published"] != e["created"] {
		t.Errorf("published %v, created %v", e["published"], e["created"])
	}
}

func TestActivitiesAreDeleted(t *testing.T) { everywhere(t, activitiesAreDeleted) }

func activitiesAreDeleted(t *testing.T, r *rest) {
	for _, name := range []string{"ana", "bo"} {
		r.user(name)
	}
	r.ok("POST", "/users/bo/following/users/ana", "")
	ids := map[string]string{}
	for i := range 6 {
		content := fmt.Sprintf("a%d", i)
		ids[content] = r.say("/users/ana/activities", content)
	}
	gone := r.ok("DELETE", "/users/bo/feed/"+ids["a5"], "")
	if contents(gone) != "a5" {
		t.Errorf("deleted %s", gone.Body)
	}
	r.fails("DELETE", "/users/bo/feed/"+ids["a5"], "", 404, "service_resource_not_found")
	r.fails("GET", "/users/bo/feed/"+ids["a5"], "", 404, "service_resource_not_found")
	r.wantList("/users/bo/feed", "a4 a3 a2 a1 a0")
	r.wantList("/users/ana/feed", "a5 a4 a3 a2 a1 a0")
	r.ok("DELETE", "/users/ana/activities/"+ids["a4"], "")
	r.wantList("/users/ana/activities", "a5 a3 a2 a1 a0")
	r.wantList("/users/ana/feed", "a5 a4 a3 a2 a1 a0")
	r.wantList("/activities", "a5 a4 a3 a2 a1 a0")
	r.ok("DELETE", "/activities/"+ids["a3"], "")
	r.wantList("/users/ana/activities", "a5 a2 a1 a0")
	r.wantList("/users/ana/feed", "a5 a4 a2 a1 a0")
	r.wantList("/users/bo/feed", "a4 a2 a1 a0")
	some := r.ok("DELETE", "/users/bo/feed?limit=2&ql="+url.QueryEscape("order by content"), "")
	if contents(some) != "a0 a1" {
		t.Errorf("deleted %s", some.Body)
	}
	r.wantList("/users/bo/feed", "a4 a2")
	if none := r.ok("DELETE", "/users/bo/feed?ql="+url.QueryEscape("content = 'x'"), ""); len(none.Entities()) != 0 {
		t.Errorf("deleted %s", none.Body)
	}
	r.ok("DELETE", "/activities?ql="+url.QueryEscape("content='a2'"), "")
	r.wantList("/users/bo/feed", "a4")
	// With a user go his lists and what others have of him as a follower, not his activities.
	bo := r.ok("DELETE", "/users/bo", "").Entity()["uuid"]
	r.fails("GET", fmt.Sprintf("/users/%v/feed", bo), "", 404, "service_resource_not_found")
	r.user("bo")
	r.wantList("/users/bo/feed", "")
	r.user("cy")
	r.ok("POST", "/users/cy/following/users/ana", "")
	r.ok("DELETE", "/users/ana", "")
	r.wantList("/users/cy/feed", "a5 a1 a0")
	r.wantList("/activities", "a5 a4 a1 a0")
	r.as(r.Admin).ok("POST", "/groups", `{"path":"g"}`)
	r.say("/groups/g/activities", "ours")
	r.ok("DELETE", "/groups/g", "")
	r.wantList("/activities?limit=1", "ours")
	job := r.as(r.Admin).do("POST", "/activities/_clear", "")
	r.as(r.Admin).await(fmt.Sprintf("/activities/_clear/%v", job.Fields["jobId"]), "COMPLETE")
	r.wantList("/users/cy/feed", "")
}

// another user.
// come to them, and who asks for that waits for all.
// idle waits until no task of feeds is left.
// TestPostsCountOnce: a post that is sent again under its key is one post.
func TestPostsCountOnce(t *testing.T) { everywhere(t, postsCountOnce) }

func postsCountOnce(t *testing.T, r *rest) {
	r.user("ana")
	r.user("bo")
	r.ok("POST", "/users/bo/following/users/ana", "")
	const body = `[{"verb":"post","content":"a"},{"verb":"post","content":"b"}]`
	var first string
	for range 3 {
		status, _, text := r.send("POST", r.App+"/users/ana/activities?sync=true", body, "Idempotency-Key", "k1")
		if status != 200 {
			t.Fatalf("%d %s", status, text)
		}
		var answer struct{ Entities []struct{ UUID string } }
		if err := json.Unmarshal([]byte(text), &answer); err != nil || len(answer.Entities) != 2 {
			t.Fatalf("%s: %v", text, err)
		}
		if first == "" {
			first = answer.Entities[0].UUID
		} else if first != answer.Entities[0].UUID {
			t.Errorf("another activity: %s", text)
		}
	}
	r.wantList("/users/bo/feed", "b a")
	r.wantList("/activities", "b a")
	if n := r.counter("counter=application.collection.activities"); n != "1=2" {
		t.Errorf("activities are counted as %s", n)
	}
}

// TestSyncWaits: with sync=true an answer means that everybody has what was posted, also if
// a task brings it, and whichever node was asked.
func TestSyncWaits(t *testing.T) { everywhere(t, syncWaits) }

func syncWaits(t *testing.T, r *rest) {
	const followers, posts = 130, 2 // together more than the command does by itself
	r.user("ana")
	var users []string
	for i := range followers {
		users = append(users, fmt.Sprintf(`{"username":"f%d"}`, i))
	}
	r.ok("POST", "/users", "["+strings.Join(users, ",")+"]")
	for i := range followers {
		r.ok("POST", fmt.Sprintf("/users/f%d/following/users/ana", i), "")
	}
	for round := 1; round <= 3; round++ {
		r.ok("POST", "/users/ana/activities?sync=true", `[{"verb":"post","content":"a"},{"verb":"post","content":"b"}]`)
		for _, i := range []int{0, followers / 2, followers - 1} { // a task goes from one end to the other
			if got := len(r.ok("GET", fmt.Sprintf("/users/f%d/feed?limit=100", i), "").Entities()); got != posts*round {
				t.Errorf("after round %d, follower %d has %d activities, want %d", round, i, got, posts*round)
			}
		}
	}
}
