package collections_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/trellisdb/trellis/node"
	"github.com/trellisdb/trellis/storage/entity"
)

// TestPagesOfAFeed walks over a list while others are put into it.
func TestPagesOfAFeed(t *testing.T) { everywhere(t, pagesOfAFeed) }

func pagesOfAFeed(t *testing.T, r *rest) {
	r.user("ana")
	var want []string
	for i := range 25 {
		content := fmt.Sprintf("a%d", i)
		r.ok("POST", "/users/ana/activities", fmt.Sprintf(`{"verb":"post","content":%q,"published":%d}`, content, 1000+i/3))
		want = append([]string{content}, want...)
	}
	for _, path := range []string{"/users/ana/activities", "/users/ana/feed", "/activities"} {
		var got []string
		cursor, pages := "", 0
		for {
			a := r.ok("GET", path+"?limit=4&cursor="+cursor, "")
			got = append(got, strings.Fields(contents(a))...)
			pages++
			if cursor = a.Cursor(); cursor == "" {
				break
			}
			r.ok("POST", "/users/ana/activities", fmt.Sprintf(`{"verb":"post","content":"top","published":%d}`, 5000+pages))
			if pages == 3 {
				r.ok("DELETE", "/activities/"+fmt.Sprint(a.Entities()[3]["uuid"]), "") // the cursor's own
				want = slices.DeleteFunc(want, func(s string) bool { return s == a.Entities()[3]["content"] })
				got = got[:len(got)-1]
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
		tops := r.ok("GET", path+"?limit=1000&ql="+url.QueryEscape("content = 'top'"), "")
		for _, e := range tops.Entities() {
			r.ok("DELETE", "/activities/"+fmt.Sprint(e["uuid"]), "")
		}
	}
	// Any entry is a place to go on from.
	a := r.ok("GET", "/users/ana/feed?limit=5", "")
	cursor := a.Entities()[1]["metadata"].(map[string]any)["cursor"]
	b := r.ok("GET", fmt.Sprintf("/users/ana/feed?limit=3&cursor=%v", cursor), "")
	if contents(b) != strings.Join(strings.Fields(contents(a))[2:], " ") {
		t.Errorf("after the second of %s: %s", contents(a), contents(b))
	}
	r.fails("GET", fmt.Sprintf("/users/ana/activities?cursor=%v", cursor), "", 400, "illegal_argument")
	r.fails("GET", "/users/ana/feed?cursor=x", "", 400, "illegal_argument")
	// The other way round, and from an activity on.
	oldest := strings.Fields(contents(r.ok("GET", "/users/ana/feed?reversed=false&limit=1000", "")))
	slices.Reverse(oldest)
	if !slices.Equal(oldest, want) {
		t.Errorf("oldest first: %v", oldest)
	}
	all := r.ok("GET", "/activities?reversed=false&limit=1000", "")
	oldest = strings.Fields(contents(all))
	slices.Reverse(oldest)
	if !slices.Equal(oldest, want) {
		t.Errorf("all, oldest first: %v", oldest)
	}
	start := r.ok("GET", fmt.Sprintf("/users/ana/feed?start=%v&limit=2", a.Entities()[2]["uuid"]), "")
	if contents(start) != strings.Join(strings.Fields(contents(a))[2:4], " ") {
		t.Errorf("from the third of %s: %s", contents(a), contents(start))
	}
	if n := len(r.ok("GET", "/users/ana/feed", "").Entities()); n != 10 {
		t.Errorf("a page has %d", n)
	}
	walk := strings.Fields("")
	for cursor := ""; ; {
		a := r.ok("GET", "/users/ana/feed?reversed=false&limit=7&cursor="+cursor, "")
		walk = append(walk, strings.Fields(contents(a))...)
		if cursor = a.Cursor(); cursor == "" {
			break
		}
	}
	slices.Reverse(walk)
	if !slices.Equal(walk, want) {
		t.Errorf("pages from the oldest: %v", walk)
	}
}

func TestQueriesOverAFeed(t *testing.T) { everywhere(t, queriesOverAFeed) }

func queriesOverAFeed(t *testing.T, r *rest) {
	r.user("ana")
	r.user("bo")
	for i, line := range []string{"checkin farm rain", "post farm sun", "checkin town rain", "post town snow"} {
		words := strings.Fields(line)
		who := []string{"ana", "bo"}[i%2]
		r.ok("POST", "/users/"+who+"/activities", fmt.Sprintf(`{"verb":%q,"category":%q,"content":%q,"n":%d}`, words[0], words[1], words[2], 9-i))
		for now := time.Now().UnixMilli(); time.Now().UnixMilli() == now; { // each has a time of its own
			time.Sleep(100 * time.Microsecond)
		}
	}
	r.ok("POST", "/users/bo/following/users/ana", "")
	for _, path := range []string{"/users/bo/feed", "/activities"} {
		for ql, want := range map[string]string{
			"select * where verb = 'checkin'":       "rain rain",
			"content contains 'rain'":               "rain rain",
			"actor.username = 'bo'":                 "snow sun",
			"category = 'farm' order by created":    "rain sun",
			"order by n":                            "snow rain sun rain",
			"order by category desc, n desc":        "rain snow rain sun",
			"order by published":                    "rain sun rain snow",
			"not verb = 'checkin'":                  "snow sun",
			"verb = 'checkin' and category = 'sky'": "",
		} {
			r.wantList(path+"?ql="+url.QueryEscape(ql), want)
			// In pages of one it is the same.
			var got []string
			for cursor := ""; ; {
				a := r.ok("GET", path+"?limit=1&ql="+url.QueryEscape(ql)+"&cursor="+cursor, "")
				got = append(got, strings.Fields(contents(a))...)
				if cursor = a.Cursor(); cursor == "" {
					break
				}
			}
			if strings.Join(got, " ") != want {
				t.Errorf("%s %s: pages %v", path, ql, got)
			}
		}
	}
	only := r.ok("GET", "/users/bo/feed?ql="+url.QueryEscape("select verb, category where content = 'snow'"), "")
	if got := fmt.Sprint(only.Fields["list"]); got != "[[post town]]" {
		t.Errorf("projection %s", only.Body)
	}
	ids := ""
	for _, e := range r.ok("GET", "/activities", "").Entities() {
		ids += ", " + fmt.Sprint(e["uuid"])
	}
	r.wantList("/users/ana/activities?ql="+url.QueryEscape("select * where direct "+ids[2:]), "rain rain")
	r.wantList("/users/all/activities?ql="+url.QueryEscape("verb = 'post'"), "snow sun")
	r.wantList("/users;ql=username='bo'/feed;limit=1", "snow")
	if plan := r.ok("GET", "/users/bo/feed?explain=true&ql="+url.QueryEscape("verb = 'post'"), "").Fields["plan"]; !strings.Contains(fmt.Sprint(plan), "list") {
		t.Errorf("plan %v", plan)
	}
	names := fmt.Sprint(r.ok("GET", "/users/bo/feed/indexes", "").Fields["data"])
	if !strings.Contains(names, "verb") {
		t.Errorf("indexes %s", names)
	}
	// Without an index, all are there in order of addition.
	r.as(r.Admin).ok("POST", "/activities/_settings", `{"fields":"none"}`)
	if n := len(r.ok("GET", "/activities", "").Entities()); n != 4 {
		t.Errorf("%d activities without indexes", n)
	}
	r.wantList("/users/bo/feed", "snow rain sun rain")
}

// TestPermissionsOfLists: by the path as it is typed, and a feed is not to be had by way of
func TestPermissionsOfLists(t *testing.T) { everywhere(t, permissionsOfLists) }

func permissionsOfLists(t *testing.T, r *rest) {
	admin := r.as(r.Admin)
	ana, bo := r.user("ana"), r.user("bo")
	r.ok("POST", "/groups", `{"path":"g"}`)
	group := fmt.Sprint(r.ok("GET", "/groups/g", "").Entity()["uuid"])
	r.ok("POST", "/groups/g/users/ana", "")
	r.ok("POST", "/users/ana/following/users/bo", "")
	r.say("/users/bo/activities", "private")
	admin.ok("DELETE", "/roles/default/permissions?permission="+url.QueryEscape("get,put,post,delete:/**"), "")
	admin.ok("DELETE", "/roles/guest/permissions?permission="+url.QueryEscape("get,post,put,delete:/**"), "")
	for _, permission := range []string{"get,post:/users/${user}/**", "get,post:/groups/" + group + "/users/*/activities"} {
		admin.ok("POST", "/roles/default/permissions", fmt.Sprintf(`{"permission":%q}`, permission))
	}
	user := r.as(r.login(r.App, "ana", "sunny-day-9"))
	user.wantList("/users/me/feed", "private")
	user.wantList("/users/"+ana+"/feed", "private")
	user.wantList("/user/ana/feed", "private")
	user.ok("POST", "/users/me/activities", `{"verb":"post","content":"mine"}`)
	user.wantList("/users/me/activities", "mine")
	user.fails("GET", "/users/bo/feed", "", 401, "unauthorized")
	user.fails("GET", "/users/me/following/users/bo/feed", "", 401, "unauthorized")
	user.fails("GET", "/users/me/following/"+bo+"/activities", "", 401, "unauthorized")
	user.fails("POST", "/users/me/following/users/bo/activities", `{"verb":"post"}`, 401, "unauthorized")
	user.fails("GET", "/groups/"+group+"/activities", "", 401, "unauthorized")
	user.fails("POST", "/users/bo/activities", `{"verb":"post"}`, 401, "unauthorized")
	user.fails("GET", "/activities", "", 401, "unauthorized")
	// The path that was typed is the one that counts.
	user.ok("POST", "/groups/g/users/ana/activities", `{"verb":"post","content":"inside"}`)
	user.wantList("/groups/g/users/ana/activities", "inside mine")
	admin.ok("POST", "/roles", `{"name":"reader"}`)
	admin.ok("POST", "/roles/reader/permissions", `{"permission":"get:/groups/`+group+`/activities"}`)
	admin.ok("POST", "/roles/reader/users/ana", "")
	user.wantList("/groups/"+group+"/activities", "")
	user.fails("GET", "/groups/"+group+"/feed", "", 401, "unauthorized")
	user.ok("GET", "/groups/"+group+"/activity", "")
}

// TestLargeAudiences: the poster sees at once what he has posted, others when the task has
func TestLargeAudiences(t *testing.T) {
	r := newRest(t)
	r.user("star")
	r.ok("POST", "/groups", `{"path":"all"}`)
	const fans = 700
	var batch []string
	for i := range fans {
		batch = append(batch, fmt.Sprintf(`{"username":"fan%d"}`, i))
	}
	if n := len(r.ok("POST", "/users", "["+strings.Join(batch, ",")+"]").Entities()); n != fans {
		t.Fatalf("%d users", n)
	}
	for i := range fans {
		r.ok("POST", fmt.Sprintf("/users/fan%d/following/users/star", i), "")
		if i%2 == 0 {
			r.ok("POST", fmt.Sprintf("/groups/all/users/fan%d", i), "")
		}
	}
	r.ok("POST", "/groups/all/users/star", "")
	r.ok("POST", "/users/star/activities?sync=true", `{"verb":"post","content":"one"}`)
	r.ok("POST", "/groups/all/activities?sync=true", `{"verb":"post","actor":{"displayName":"all"},"content":"two"}`)
	r.ok("POST", "/groups/all/users/star/activities?sync=true", `[{"verb":"post","content":"three"},{"verb":"post","content":"four"}]`)
	r.wantList("/users/star/feed", "four three two one")
	for _, i := range []int{0, 1, 2, fans/2 - 1, fans / 2, fans - 2, fans - 1} {
		want := "one"
		if i%2 == 0 {
			want = "four three two one"
		}
		r.wantList(fmt.Sprintf("/users/fan%d/feed", i), want)
	}
	// A long outbox is copied to a new follower by a task.
	batch = batch[:0]
	for i := range 999 {
		batch = append(batch, fmt.Sprintf(`{"verb":"post","content":"b%d"}`, i))
	}
	r.user("poet")
	r.user("reader")
	r.ok("POST", "/users/poet/activities", "["+strings.Join(batch, ",")+"]")
	r.ok("POST", "/users/reader/following/users/poet", "")
	r.idle()
	n := 0
	for cursor := ""; ; {
		a := r.ok("GET", "/users/reader/feed?limit=300&cursor="+cursor, "")
		for _, e := range a.Entities() {
			if want := fmt.Sprintf("b%d", 998-n); e["content"] != want {
				t.Fatalf("at %d: %v, want %s", n, e["content"], want)
			}
			n++
		}
		if cursor = a.Cursor(); cursor == "" {
			break
		}
	}
	if n != 999 {
		t.Errorf("%d in the feed", n)
	}
}

func (r *rest) idle() {
	r.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		list, err := r.Node.Tasks(r.Context())
		if err != nil {
			r.Fatal(err)
		}
		left := slices.DeleteFunc(slices.Clone(list.Tasks), func(p node.PartitionTask) bool {
			t := p.Task
			return t.Kind != entity.TaskFanOut && t.Kind != entity.TaskFollow && t.Kind != entity.TaskDropEdges
		})
		if len(left) == 0 {
			return
		}
		if time.Now().After(end) {
			r.Fatalf("tasks are left: %+v", left)
		}
	}
}
