package collections_test

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"path"
	"slices"
	"testing"
	"time"
)

// TestAccessIsTheUnion changes roles, groups and permissions at random, and compares what
// two users may do with what the entities say, added up anew each time.
func TestAccessIsTheUnion(t *testing.T) {
	s := newStrict(t)
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 0))
	held := map[string][]string{} // owner → letters of what it grants
	linked := map[string]bool{}   // "/users/ana/roles/r1"
	exists := map[string]bool{"/users/ana": true, "/users/bo": true}
	callers := map[string]*rest{"/users/ana": s.ana, "/users/bo": s.bo}
	s.admin.ok("DELETE", "/roles/tested", "")
	owners := []string{"/users/ana", "/users/bo", "/groups/g1", "/groups/g2", "/roles/r1", "/roles/r2", "/roles/default"}
	pick := func(list ...string) string { return list[rng.IntN(len(list))] }
	// does makes a request as administrator, and reports whether it succeeded.
	does := func(method, path, body string) bool { return s.admin.do(method, path, body).Status == 200 }
	step := func() string {
		owner := pick(owners...)
		switch rng.IntN(6) {
		case 0, 1: // a permission more, or less
			letter := pick("a", "b", "c")
			permission := "get:/" + letter + "s"
			if rng.IntN(2) == 0 {
				if does("POST", owner+"/permissions", `{"permission":"`+permission+`"}`) {
					held[owner] = append(held[owner], letter)
				}
				return "grant " + permission + " to " + owner
			}
			if does("DELETE", owner+"/permissions?permission="+url.QueryEscape(permission), "") {
				held[owner] = slices.DeleteFunc(held[owner], func(l string) bool { return l == letter })
			}
			return "revoke " + permission + " of " + owner
		case 2: // an owner comes or goes, with all it has
			if owner[1] == 'u' {
				return ""
			}
			if !exists[owner] {
				collection, name := path.Split(owner)
				exists[owner] = does("POST", collection, fmt.Sprintf(`{"path":"%s","name":"%[1]s"}`, name))
				return "create " + owner
			}
			does("DELETE", owner, "")
			exists[owner] = false
			delete(held, owner)
			for link := range linked {
				if len(link) > len(owner) && (link[:len(owner)] == owner || link[len(link)-len(owner):] == owner) {
					delete(linked, link)
				}
			}
			return "delete " + owner
		}
		far := pick("/groups/g1", "/groups/g2", "/roles/r1", "/roles/r2")
		if owner[1] == 'r' || owner[1] == 'g' && far[1] == 'g' {
			return ""
		}
		link := owner + far
		if rng.IntN(2) == 0 {
			link = far + owner
		}
		if rng.IntN(3) == 0 {
			if does("DELETE", link, "") {
				delete(linked, owner+far)
			}
			return "unlink " + link
		}
		if does("POST", link, "") {
			linked[owner+far] = true
		}
		return "link " + link
	}
	want := func(user, letter string) bool {
		from := []string{user, "/roles/default"}
		for _, role := range []string{"/roles/r1", "/roles/r2"} {
			if linked[user+role] {
				from = append(from, role)
			}
			for _, group := range []string{"/groups/g1", "/groups/g2"} {
				if linked[user+group] {
					from = append(from, group)
					if linked[group+role] {
						from = append(from, role)
					}
				}
			}
		}
		return slices.ContainsFunc(from, func(o string) bool { return slices.Contains(held[o], letter) })
	}
	yes, no := 0, 0
	for i := range 400 {
		did := step()
		for user, caller := range callers {
			letter := pick("a", "b", "c")
			got := caller.do("GET", "/"+letter+"s", "").Status == 200
			if got != want(user, letter) {
				t.Fatalf("seed %d, step %d: after %s %s may read /%ss: %v; grants %v, links %v", seed, i, did, user, letter, got, held, linked)
			}
			if got {
				yes++
			} else {
				no++
			}
		}
	}
	if yes < 20 || no < 20 {
		t.Errorf("seed %d: %d allowed, %d refused", seed, yes, no)
	}
}
