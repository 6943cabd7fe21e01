package auth

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestPlacesAreTheirPaths compares places with every path that they spell.
func TestPlacesAreTheirPaths(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	pick := func(list ...string) string { return list[rng.IntN(len(list))] }
	granted := 0
	for round := range 20_000 {
		text := pick("get", "put", "*") + ":"
		for range rng.IntN(6) {
			text += "/" + pick("users", "books", "lee", "*", "**", "b*", "me", "${user}", "x")
		}
		p, err := ParsePermission(text)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		places := Literal([]string{pick("users", "user", "book", "x")})
		for range rng.IntN(4) {
			var place Place
			for range 1 + rng.IntN(3) {
				spelling := []string{pick("lee", "books", "me", "x", "bb", leeID.String())}
				for range rng.IntN(2) {
					spelling = append(spelling, pick("x", "b", "LEE"))
				}
				place.Spellings = append(place.Spellings, spelling)
			}
			places = append(places, place)
		}
		paths := [][]string{nil}
		for _, place := range places {
			var longer [][]string
			for _, path := range paths {
				for _, spelling := range place.Spellings {
					longer = append(longer, append(slices.Clone(path), spelling...))
				}
			}
			paths = longer
		}
		op := []Op{Get, Put}[rng.IntN(2)]
		want := slices.ContainsFunc(paths, func(path []string) bool { return p.Grants(op, path, lee) })
		a := Access{grants: []*Set{NewSet([]*Permission{p})}, caller: lee}
		if got := a.MayAt(op, places); got != want {
			t.Fatalf("round %d: %v, op %d on %v: %v, want %v", round, p, op, places, got, want)
		}
		if want {
			granted++
		}
	}
	if granted < 500 {
		t.Errorf("only %d were granted", granted)
	}
}

// TestVariableStandsForTheCaller: not for whoever calls himself the same.
func TestVariableStandsForTheCaller(t *testing.T) {
	user := Principal{Kind: AppUser, ID: leeID, Username: "kim@example.org", Email: "sam"}
	own := user.Permissions([]*Set{mustSet("get:/users/${user}/**", "get:/users/*/following/users/me", "get:/notes/${user}", "get:/users/x-${user}")})
	named := func(self bool, names ...string) Place {
		p := Place{User: true, Self: self}
		for _, name := range names {
			p.Spellings = append(p.Spellings, []string{name})
		}
		return p
	}
	users := Literal([]string{"users"})[0]
	following := Literal([]string{"following", "users"})
	for _, tc := range []struct {
		name   string
		places []Place
		want   bool
	}{
		{"himself by his address", []Place{users, named(true, "lee@example.org")}, true},
		{"himself as me", []Place{users, named(true, "me")}, true},
		{"who has his name as an address", []Place{users, named(false, "kim@example.org")}, false},
		{"who is called as his address", []Place{users, named(false, "sam")}, false},
		{"nobody's me", []Place{users, named(false, "me")}, false},
		{"himself at the end", append(append([]Place{users, named(false, "x")}, following...), named(true, "y")), true},
		{"another at the end", append(append([]Place{users, named(true, "x")}, following...), named(false, "kim@example.org")), true},
		{"another of another", append(append([]Place{users, named(false, "x")}, following...), named(false, "kim@example.org")), false},
		{"a part of a name", []Place{users, named(true, "x-kim@example.org")}, true}, // because he may always read himself
		{"a part of another's", []Place{users, named(false, "x-kim@example.org")}, false},
		{"what is no user", Literal([]string{"notes", "kim@example.org"}), true},
		{"what is no user, by his address", Literal([]string{"notes", "sam"}), false},
	} {
		if got := own.MayAt(Get, tc.places); got != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
	for path, want := range map[string]bool{"/users/kim@example.org": false, "/users/sam": false, "/notes/kim@example.org": false, "/users/" + leeID.String() + "/x": true} {
		if got := own.May(Get, SplitPath(path)); got != want {
			t.Errorf("%s as typed: %v, want %v", path, got, want)
		}
	}
}
