package auth

import (
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/trellisdb/trellis/api/inflect"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

var (
	leeID = entity.ID{0x9b, 1, 15: 7}
	lee   = Caller{Username: "Lee", ID: leeID}
)

func grants(t *testing.T, permission string, op Op, path string, c Caller) bool {
	t.Helper()
	p, err := ParsePermission(permission)
	if err != nil {
		t.Fatalf("ParsePermission(%q): %v", permission, err)
	}
	return p.Grants(op, SplitPath(path), c)
}

// The table of spec auth-and-tokens section 9.3, and what follows from its
// text. A path is matched with get and put unless operations stand before it.
func TestMatching(t *testing.T) {
	u := leeID.String()
	for _, tc := range []struct{ pattern, yes, no string }{
		{"/users", "/users /USERS/ /user //users", "/users/lee / /user/lee"},
		{"/users/*", "/users/lee /user/lee get:/users post:/users", "/users/lee/likes /userset put:/users delete:/users put:/user"},
		{"/users/**", "/users /users/lee /users/lee/likes/books", "/usersx /"},
		{"/*", "/books get:/ post:/", "/books/dune put:/ delete:/"},
		{"/**", "/ /a /a/b/c", ""},
		{"**", "/ /a /a/b/c", ""},
		{"*", "/ /a /a/b/c put:/ delete:/x/y", ""},
		{"get:*", "get:/a/b", "put:/a/b"},
		{"**/likes", "/likes /users/likes /users/lee/likes", "/likes/x /"},
		{"/books/*/review/*", "/books/1/review/9 get:/books/1/review post:/books/1/review", "/books/1 /books/1/review/9/x put:/books/1/review"},
		{"/users/${user}/**", "/users/lee /users/" + u + "/feed /users/LEE", "/users/lee@example.org/x /users/kim /users/me /users /lee"},
		{"/users/me/**", "/users/lee /users/" + u + "/feed /users/me /users/me/feed", "/users/kim"},
		{"/users/me", "/users/lee /users/me", "/users/kim /users/lee/feed"},
		{"/users/*/following/users/${user}", "/users/kim/following/users/lee", "/users/kim/following/users/kim"},
		{"/notes/note-${user}", "/notes/note-lee /notes/note-" + u, "/notes/note- /notes/lee /notes/note-kim"},
		{"/cats/*", "get:/cats post:/cats get:/cats/fluffy", "/cats/fluffy/tail"},
		{"put:/devices/*", "put:/devices/x put:/device/x", "put:/devices put:/device get:/devices/x"},
		{"/b?oks/*er", "/book/beer /books/er", "/bks/beer /book/beers"},
		{"/user", "/users /user", "/users/x"},
		{"/item/hammer", "/items/hammer /ITEM/Hammer", "/items/hammers"},
		{"**/user", "/users /user /a/user", "/a/users"},
		{"/a/**/z", "/a/z /a/b/z /a/b/c/z /a/z/z", "/a /a/b /z /a/z/b"},
		{"/a/*/c/**/d/*", "/a/b/c/d/e get:/a/b/c/d /a/b/c/x/y/d/e", "put:/a/b/c/d /a/b/c"},
		{"/a/*b*c*", "/a/bc /a/xbxcx /a/bbcc", "/a/cb /a/b"},
		{"/a/été?", "/a/étés /a/ÉTÉÀ", "/a/été /a/étéss"},
		{"/books,/films/**", "/books /films/x", "/books/x"},
		{"books", "/books", "/films"},
		{"get:/a:b", "get:/a:b", "put:/a:b get:/a"},
		{":/books", "/books", "/"},
		{"*:/books", "/books", "/"},
	} {
		for _, list := range []struct {
			paths string
			want  bool
		}{{tc.yes, true}, {tc.no, false}} {
			for _, path := range strings.Fields(list.paths) {
				ops := []Op{Get, Put}
				if name, rest, ok := strings.Cut(path, ":"); ok && OpOf(name) != 0 {
					ops, path = []Op{OpOf(name)}, rest
				}
				if strings.HasPrefix(tc.pattern, "get:") && len(ops) == 2 {
					ops = []Op{Get}
				}
				for _, op := range ops {
					if got := grants(t, tc.pattern, op, path, lee); got != list.want {
						t.Errorf("%s: op %d on %s: %v, want %v", tc.pattern, op, path, got, list.want)
					}
				}
			}
		}
	}
}

func TestVariablesMatchNobodyButUsers(t *testing.T) {
	for _, p := range []string{"/users/${user}", "/users/me", "/users/me/**", "/users/${user}/**", "/x${user}"} {
		for _, path := range []string{"/users/me", "/users/", "/users/00000000-0000-0000-0000-000000000000", "/users/${user}", "/x"} {
			if grants(t, p, Get, path, Caller{}) {
				t.Errorf("%s lets a caller without a name to %s", p, path)
			}
		}
	}
	// A user who has no name at all matches by UUID alone, never the empty text.
	if grants(t, "/a/${user}x", Get, "/a/x", Caller{ID: leeID}) {
		t.Error("an empty username stands for anything")
	}
	// What a user calls himself is no pattern.
	star := Caller{Username: "*", ID: leeID}
	if grants(t, "/users/${user}", Get, "/users/kim", star) || !grants(t, "/users/${user}", Get, "/users/*", star) {
		t.Error("a username is taken for a wildcard")
	}
}

func TestOperations(t *testing.T) {
	for _, tc := range []struct {
		text string
		want Op
	}{
		{"get,put,post,delete:/**", allOps}, {"get:/x", Get}, {"HEAD:/x", 0}, {"Post,Get:/x", Post | Get}, {" get , put :/x", Get | Put}, {"fly:/x", 0}, {"get,:/x", 0},
	} {
		p, err := ParsePermission(tc.text)
		if tc.want == 0 {
			if !fault.Is(err, fault.IllegalArgument) {
				t.Errorf("%q: %v", tc.text, err)
			}
			continue
		}
		if err != nil || p.ops != tc.want {
			t.Errorf("%q: %v %v", tc.text, p, err)
		}
	}
	if OpOf("HEAD") != Get || OpOf("PATCH") != 0 || OpOf("get") != Get {
		t.Error("OpOf")
	}
	if grants(t, "/**", 0, "/x", lee) {
		t.Error("no operation is granted")
	}
	if p, _ := ParsePermission(" GET,Post:/X "); p.String() != "get,post:/x" {
		t.Errorf("stored as %q", p)
	}
	for _, bad := range []string{"", "  ", strings.Repeat("a", 1025), "\xff", strings.Repeat("/a", 64)} {
		if _, err := ParsePermission(bad); !fault.Is(err, fault.IllegalArgument) {
			t.Errorf("%q is accepted: %v", bad, err)
		}
	}
}

func TestAccess(t *testing.T) {
	app, other := entity.ID{1}, entity.ID{2}
	org, strange := entity.ID{3}, entity.ID{4}
	closed := Application{ID: app, Organization: org}
	for _, tc := range []struct {
		name     string
		p        Principal
		in       Application
		refused  fault.Code
		complete bool
	}{
		{"guest", Principal{}, closed, "", false},
		{"user", Principal{Kind: AppUser, ID: leeID, App: app}, closed, "", false},
		{"user of elsewhere", Principal{Kind: AppUser, ID: leeID, App: other}, closed, "", false},
		{"app client", Principal{Kind: AppClient, ID: app, App: app}, closed, "", true},
		{"app client of elsewhere", Principal{Kind: AppClient, ID: other, App: other}, closed, fault.Unauthorized, false},
		{"org client", Principal{Kind: OrgClient, ID: org, Organizations: []entity.ID{org}}, closed, "", true},
		{"org client of elsewhere", Principal{Kind: OrgClient, ID: strange, Organizations: []entity.ID{strange}}, closed, fault.Unauthorized, false},
		{"member", Principal{Kind: Admin, Organizations: []entity.ID{strange, org}}, closed, "", true},
		{"stranger", Principal{Kind: Admin, Organizations: []entity.ID{strange}}, closed, fault.Unauthorized, false},
		{"superuser", Principal{Kind: Superuser}, closed, "", true},
		{"guest of management", Principal{}, Application{ID: entity.ManagementID, Open: true}, fault.Unauthorized, false},
		{"admin of management", Principal{Kind: Admin, Organizations: []entity.ID{{}}}, Application{ID: entity.ManagementID}, fault.Unauthorized, false},
		{"user of management", Principal{Kind: AppUser, App: entity.ManagementID}, Application{ID: entity.ManagementID}, fault.Unauthorized, false},
		{"superuser of management", Principal{Kind: Superuser}, Application{ID: entity.ManagementID}, fault.NotImplemented, false},
	} {
		a, err := tc.p.In(tc.in)
		if fault.CodeOf(err) != tc.refused || a.Everything() != tc.complete {
			t.Errorf("%s: %+v, %v", tc.name, a, err)
		}
		if a.May(Get, []string{"users"}) != tc.complete {
			t.Errorf("%s: may read without a role, or not although it may do everything", tc.name)
		}
	}
}

// TestDefaultRoles asks what guests and users may with the roles of a new application.
func TestDefaultRoles(t *testing.T) {
	set := func(name string, open bool) *Set {
		for _, role := range DefaultRoles(open) {
			if role.Name == name {
				return mustSet(role.Permissions...)
			}
		}
		t.Fatalf("no role %s", name)
		return nil
	}
	guest, user := Principal{}, Principal{Kind: AppUser, ID: leeID, Username: "lee"}
	for _, tc := range []struct {
		name    string
		a       Access
		yes, no string
	}{
		{"guest", guest.Permissions([]*Set{set("guest", false)}), "post:/users post:/user post:/devices put:/devices/x", "get:/users put:/users/x put:/devices get:/ post:/books post:/users/x get:/users/me"},
		{"guest of the sandbox", guest.Permissions([]*Set{set("guest", true)}), "get:/users put:/x delete:/a/b/c", ""},
		{"user", user.Permissions([]*Set{set("default", false)}), "get:/users delete:/a/b post:/x", ""},
		{"user without a role", user.Permissions(nil), "get:/users/lee get:/user/" + leeID.String(), "get:/users put:/users/lee get:/users/kim get:/users/lee/likes"},
		{"guest without a role", NoGuests(), "", "get:/users post:/users"},
		{"admin role", user.Permissions([]*Set{set("admin", false)}), "get:/users/lee", "get:/x"},
	} {
		for list, want := range map[string]bool{tc.yes: true, tc.no: false} {
			for _, s := range strings.Fields(list) {
				method, path, _ := strings.Cut(s, ":")
				err := tc.a.Check(OpOf(method), SplitPath(path))
				if (err == nil) != want || (err != nil && !fault.Is(err, fault.Unauthorized)) {
					t.Errorf("%s, %s: %v, want %v", tc.name, s, err, want)
				}
			}
		}
	}
}

// TestSetIsTheUnionOfItsPermissions compares sets with their permissions, one by one.
func TestSetIsTheUnionOfItsPermissions(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	pick := func(list ...string) string { return list[rng.IntN(len(list))] }
	caller := Caller{ID: leeID, Username: "lee"}
	granted := 0
	for round := range 20_000 {
		var list []*Permission
		for range rng.IntN(6) {
			text := pick("get", "get,put", "post", "delete", "*", "put,delete") + ":"
			for range rng.IntN(4) {
				text += "/" + pick("users", "user", "books", "lee", "*", "**", "b*", "?", "me", "${user}", "x")
			}
			if rng.IntN(5) == 0 {
				text += ",/" + pick("books", "*", "**") + "/" + pick("x", "*")
			}
			p, err := ParsePermission(text)
			if err != nil {
				t.Fatalf("%q: %v", text, err)
			}
			list = append(list, p)
		}
		var path []string
		for range rng.IntN(5) {
			path = append(path, pick("users", "Users", "user", "book", "books", "LEE", "me", "x", "bb", leeID.String(), "lee@example.org"))
		}
		op := []Op{Get, Put, Post, Delete}[rng.IntN(4)]
		want := slices.ContainsFunc(list, func(p *Permission) bool { return p.Grants(op, path, caller) })
		p := spell(path)
		if got := NewSet(list).grants(op, &p, caller); got != want {
			t.Fatalf("round %d: %v, op %d on %q: %v, want %v", round, list, op, path, got, want)
		}
		if want {
			granted++
		}
	}
	if granted < 1000 {
		t.Errorf("only %d paths were granted", granted)
	}
}

// naive matches by a regular expression for every way to read a pattern: slow,
// and written from the text of the spec rather than from the matcher.
func naive(text string, op Op, path []string, user string) bool {
	for _, part := range strings.Split(text, ",") {
		if strings.TrimSpace(part) == "*" {
			part = "**"
		}
		segs := SplitPath(strings.TrimSpace(part))
		tries := [][]string{segs}
		if n := len(segs); n > 0 && segs[n-1] == "*" && op&(Put|Delete) == 0 {
			tries = append(tries, segs[:n-1])
		}
		if slices.ContainsFunc(tries, func(s []string) bool { return naiveWalk(s, path, 0, user) }) {
			return true
		}
	}
	return false
}

func naiveWalk(segs, path []string, depth int, user string) bool {
	if len(segs) == 0 {
		return len(path) == 0
	}
	if segs[0] == "**" {
		return naiveWalk(segs[1:], path, depth, user) || (len(path) > 0 && naiveWalk(segs, path[1:], depth+1, user))
	}
	if len(path) == 0 {
		return false
	}
	pat, text := segs[0], strings.ToLower(path[0])
	if depth == 0 {
		text = inflect.Collection(path[0])
		if !strings.ContainsAny(pat, "*?") && !strings.Contains(pat, userVariable) && pat != "me" {
			pat = inflect.Collection(pat)
		}
	}
	if pat == "me" && depth+len(path) > 0 {
		if text == "me" {
			return naiveWalk(segs[1:], path[1:], depth+1, user)
		}
		pat = userVariable
	}
	expr := regexp.QuoteMeta(pat)
	expr = strings.ReplaceAll(expr, regexp.QuoteMeta(userVariable), regexp.QuoteMeta(strings.ToLower(user)))
	expr = strings.NewReplacer(`\*`, `(?s:.*)`, `\?`, `(?s:.)`).Replace(expr)
	return regexp.MustCompile(`^(?:`+expr+`)$`).MatchString(text) && naiveWalk(segs[1:], path[1:], depth+1, user)
}

func FuzzPermission(f *testing.F) {
	f.Add("get:/users/${user}/**", "/users/lee/x", byte(1))
	f.Add("/books/*/review/*", "/books/1/review", byte(4))
	f.Add("**/likes,/a/**/b?c*", "/a/x/bxcc", byte(8))
	f.Fuzz(func(t *testing.T, text, path string, op byte) {
		p, err := ParsePermission(text)
		if err != nil {
			return
		}
		again, err := ParsePermission(p.String())
		if err != nil || again.String() != p.String() || again.ops != p.ops {
			t.Fatalf("%q is stored as %q, which is %v, %v", text, p, again, err)
		}
		one := []Op{Get, Put, Post, Delete}[op&3]
		segs := SplitPath(path)
		got := p.Grants(one, segs, Caller{})
		if p.ops&one == 0 && got {
			t.Fatalf("%q grants an operation it does not name", text)
		}
		if len(segs) > 6 || strings.Count(text, "*") > 6 || len(text) > 60 || len(path) > 60 || strings.ContainsAny(p.String()+path, "\ufffd") {
			return
		}
		rest := p.String()
		if _, after, ok := strings.Cut(rest, ":"); ok && !strings.HasPrefix(rest, "/") {
			rest = after
		}
		if strings.Contains(rest, "me") || strings.Contains(rest, userVariable) || !validAll(segs) {
			return
		}
		if want := p.ops&one != 0 && naive(rest, one, segs, ""); got != want {
			t.Fatalf("%q, op %d on %q: %v, want %v", text, one, segs, got, want)
		}
	})
}

func validAll(segs []string) bool {
	return !slices.ContainsFunc(segs, func(s string) bool { return strings.ToValidUTF8(s, "") != s })
}

func BenchmarkDefaultRole(b *testing.B) {
	p := Principal{Kind: AppUser, ID: leeID, App: entity.ID{1}}
	sets := []*Set{mustSet(UserEverything)}
	path := []string{"items", "hammer"}
	b.ReportAllocs()
	for b.Loop() {
		a := p.Permissions(sets)
		if !a.May(Get, path) {
			b.Fatal("refused")
		}
	}
}

// manyRoles are 100 roles of 50 permissions, of which the last grants.
func manyRoles(p *Principal) Access {
	var sets []*Set
	for i := range 100 {
		var texts []string
		for j := range 50 {
			n := i*50 + j
			texts = append(texts, []string{"get,put:/things%d/*", "get:/items/x%d/**", "post:/users/${user}/t%d/*", "*:/c%d", "delete:/items/*/y%d"}[j%5])
			texts[j] = strings.ReplaceAll(texts[j], "%d", strconv.Itoa(n))
		}
		sets = append(sets, mustSet(texts...))
	}
	return p.Permissions(append(sets, mustSet("get:/items/hammer")))
}

// BenchmarkManyRoles asks 100 roles of 50 permissions, of which the last grants.
func BenchmarkManyRoles(b *testing.B) {
	a := manyRoles(&Principal{Kind: AppUser, ID: leeID, App: entity.ID{1}, Username: "lee"})
	path := []string{"items", "hammer"}
	b.ReportAllocs()
	for b.Loop() {
		if !a.May(Get, path) {
			b.Fatal("refused")
		}
	}
}

// BenchmarkManyRolesByName asks the same for an entity with several names, as is done
// when the path as typed is not granted.
func BenchmarkManyRolesByName(b *testing.B) {
	a := manyRoles(&Principal{Kind: AppUser, ID: leeID, App: entity.ID{1}, Username: "lee"})
	places := append(Literal([]string{"items"}), Place{Spellings: [][]string{{leeID.String()}, {"hammer"}, {"HAMMER"}}})
	b.ReportAllocs()
	for b.Loop() {
		if !a.MayAt(Get, places) {
			b.Fatal("refused")
		}
	}
}
