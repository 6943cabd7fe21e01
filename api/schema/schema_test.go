package schema

import (
	"slices"
	"strings"
	"testing"

	"github.com/trellisdb/trellis/api/inflect"
	"github.com/trellisdb/trellis/storage/fault"
)

func TestOf(t *testing.T) {
	for _, tc := range []struct {
		segment, collection, name, unique, required string
		offered                                     bool
	}{
		{"user", "users", "user", "username email", "username", true},
		{"USERS", "users", "user", "username email", "username", true},
		{"device", "devices", "device", "name", "", true},
		{"item", "items", "item", "name", "", true},
		{"cookies", "cookies", "cooky", "name", "", true},
		{"s", "s", "s", "name", "", true},
		{"group", "groups", "group", "path", "path", true},
		{"role", "roles", "role", "name", "name", true},
		{"activity", "activities", "activity", "", "actor verb", true},
		{"event", "events", "event", "", "timestamp", true},
		{"asset", "assets", "asset", "path", "owner path", true},
		{"folder", "folders", "folder", "path", "owner path", true},
		{"notification", "notifications", "notification", "", "", true},
		{"notifier", "notifiers", "notifier", "name", "", true},
		{"receipt", "receipts", "receipt", "", "", true},
		{"queue", "queues", "queue", "name", "", false},
		{"counters", "counters", "counter", "", "", false},
	} {
		got, err := Of(tc.segment)
		if err != nil {
			t.Errorf("Of(%s): %v", tc.segment, err)
			continue
		}
		if got.Collection != tc.collection || got.Name != tc.name || got.Offered != tc.offered ||
			strings.Join(got.Unique, " ") != tc.unique || strings.Join(got.Required, " ") != tc.required {
			t.Errorf("Of(%s) = %+v, want %+v", tc.segment, got, tc)
		}
		r := got.Rules()
		if r.Collection != tc.collection || r.Type != tc.name || !slices.Equal(r.Unique, got.Unique) || !slices.Equal(r.Required, got.Required) {
			t.Errorf("rules of %s: %+v", tc.segment, r)
		}
	}
	for _, bad := range []string{"", "entity", "entities", "EntityThing", "application", "applications", strings.Repeat("x", 300)} {
		if got, err := Of(bad); !fault.Is(err, fault.IllegalArgument) {
			t.Errorf("Of(%s) = %+v, %v", bad, got, err)
		}
	}
}

// The table is keyed by what a segment becomes, or a default type would be
// reached by no spelling.
func TestDefaultsAreCanonical(t *testing.T) {
	for name, typ := range defaults {
		if typ.Collection != name || inflect.Collection(name) != name || inflect.Type(name) != typ.Name || !typ.Default {
			t.Errorf("%s: %+v", name, typ)
		}
		for _, p := range typ.Aliases {
			if !slices.Contains(typ.Unique, p) {
				t.Errorf("%s: alias %s is not unique", name, p)
			}
		}
	}
	if !slices.IsSorted(alwaysListed) {
		t.Error("not in order")
	}
	for _, name := range AlwaysListed() {
		if defaults[name] == nil {
			t.Errorf("%s is listed and unknown", name)
		}
	}
}

func TestProperties(t *testing.T) {
	users, _ := Of("users")
	items, _ := Of("items")
	if users.Class("UserName") != String || users.Class("activated") != Boolean || users.Class("city") != Undeclared || items.Class("NAME") != String {
		t.Error("Class")
	}
	if !Dropped("UUID") || !Dropped("metadata") || Dropped("name") || Dropped("connection") || !DroppedOnUpdate("connection") || !DroppedOnUpdate("type") {
		t.Error("Dropped")
	}
	if !users.Secret("Password") || !users.Secret("pin") || !users.Secret("credentialsHistory") || users.Secret("name") || items.Secret("password") {
		t.Error("Secret")
	}
	if !Command("Token") || Command("tokens") || !Command("credentials") || Command("items") {
		t.Error("Command")
	}
}

func TestConvert(t *testing.T) {
	for _, tc := range []struct {
		class     Class
		raw, want string
	}{
		{String, `"x"`, `"x"`}, {String, `7`, `"7"`}, {String, `-1.5e3`, `"-1.5e3"`}, {String, `true`, ""}, {String, `{}`, ""}, {String, `[]`, ""},
		{String, `null`, `null`}, {String, `""`, `""`},
		{Integer, `7`, `7`}, {Integer, `"7"`, `7`}, {Integer, `" -7 "`, `-7`}, {Integer, `7.0`, `7`}, {Integer, `7.5`, ""}, {Integer, `"7e2"`, `700`},
		{Integer, `9223372036854775807`, `9223372036854775807`}, {Integer, `9223372036854775808`, ""}, {Integer, `"NaN"`, ""}, {Integer, `"0x10"`, ""},
		{Integer, `"x"`, ""}, {Integer, `true`, ""}, {Integer, `""`, `""`},
		{Boolean, `true`, `true`}, {Boolean, `"TRUE"`, `true`}, {Boolean, `"false"`, `false`}, {Boolean, `"no"`, ""}, {Boolean, `1`, ""}, {Boolean, `null`, `null`},
		{Undeclared, `{"a":1}`, `{"a":1}`},
	} {
		got, err := Convert("p", tc.class, []byte(tc.raw))
		if tc.want == "" {
			if !fault.Is(err, fault.PropertyTypeConversion) {
				t.Errorf("%s as %d: %s, %v", tc.raw, tc.class, got, err)
			}
		} else if err != nil || string(got) != tc.want {
			t.Errorf("%s as %d: %s, %v, want %s", tc.raw, tc.class, got, err, tc.want)
		}
	}
}
