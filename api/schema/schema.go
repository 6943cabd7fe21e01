// Package schema knows the types of entities: under which name their collection
// is stored, which of their properties are aliases, unique, required, declared
// with a type, or no business of the client's (spec data-model sections 3, 5,
// 7, 8).
//
// Everything a client has not heard of before is a custom type, whose only
// special property is its name. What of the default types this version serves
// is said here too, and nowhere else.
//
// The package is pure and keeps no state.
package schema

import (
	"slices"
	"strings"

	"github.com/trellisdb/trellis/api/inflect"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// Type describes the entities of one collection. It is shared: do not change
// what its slices hold.
type Type struct {
	Collection string   // canonical plural, lower case: the stored name
	Name       string   // singular: what entities show as "type"
	Aliases    []string // properties a path segment is looked up by, in this order
	Unique     []string // most specific first
	Required   []string // on creation, and not removable
	Default    bool     // one of the types every application has
	Offered    bool     // served by this version; otherwise answered with NotImplemented

	declared []declaration
}

type declaration struct {
	property string
	class    Class
}

// Class is the declared type of a property.
type Class byte

// Classes of declared properties.
const (
	Undeclared Class = iota
	String
	Integer
	Boolean
)

var (
	byName  = []string{"name"}
	byPath  = []string{"path"}
	nothing = []string(nil)

	named = []declaration{{"name", String}}
)

// defaults are the types every application has, by collection.
var defaults = map[string]*Type{
	"users": {
		Collection: "users", Name: "user", Default: true, Offered: true,
		Aliases: []string{"username", "email"}, Unique: []string{"username", "email"}, Required: []string{"username"},
		declared: []declaration{{"username", String}, {"email", String}, {"name", String}, {"picture", String},
			{"activated", Boolean}, {"confirmed", Boolean}, {"disabled", Boolean}, {"deactivated", Integer}},
	},
	"devices": {
		Collection: "devices", Name: "device", Default: true, Offered: true,
		Aliases: byName, Unique: byName, declared: []declaration{{"name", String}, {"badge", Integer}},
	},
	"groups": {
		Collection: "groups", Name: "group", Default: true, Offered: true, Aliases: byPath, Unique: byPath, Required: byPath,
		declared: []declaration{{"path", String}, {"title", String}, {"name", String}},
	},
	"roles": {
		Collection: "roles", Name: "role", Default: true, Offered: true, Aliases: byName, Unique: byName, Required: byName,
		declared: []declaration{{"name", String}, {"roleName", String}, {"role name", String}, {"title", String}, {"inactivity", Integer}, {"group", String}},
	},
	"events": {
		Collection: "events", Name: "event", Default: true, Offered: true, Aliases: nothing, Required: []string{"timestamp"},
		declared: []declaration{{"timestamp", Integer}, {"category", String}, {"message", String}},
	},
	"activities": {
		Collection: "activities", Name: "activity", Default: true, Offered: true, Aliases: nothing, Required: []string{"actor", "verb"},
		declared: []declaration{{"verb", String}, {"published", Integer}, {"content", String}, {"title", String}, {"category", String}},
	},
	"assets": {
		Collection: "assets", Name: "asset", Default: true, Offered: true, Aliases: byPath, Unique: byPath, Required: []string{"owner", "path"},
		declared: []declaration{{"path", String}, {"name", String}, {"owner", String}},
	},
	"folders": {
		Collection: "folders", Name: "folder", Default: true, Offered: true, Aliases: byPath, Unique: byPath, Required: []string{"owner", "path"},
		declared: []declaration{{"path", String}, {"name", String}, {"owner", String}},
	},
	"notifications": {
		Collection: "notifications", Name: "notification", Default: true, Offered: true, Aliases: nothing,
		declared: []declaration{{"state", String}, {"debug", Boolean}, {"saveReceipts", Boolean}, {"useGraph", Boolean}, {"pathQuery", Undeclared}},
	},
	"notifiers": {Collection: "notifiers", Name: "notifier", Default: true, Offered: true, Aliases: byName, Unique: byName, declared: named},
	"receipts": {
		Collection: "receipts", Name: "receipt", Default: true, Offered: true, Aliases: nothing,
		declared: []declaration{{"notificationUUID", String}, {"deviceId", String}},
	},
	"queues":   {Collection: "queues", Name: "queue", Default: true, Aliases: byName, Unique: byName},
	"counters": {Collection: "counters", Name: "counter", Default: true, Aliases: nothing},
}

// alwaysListed are the collections an application shows even when empty.
var alwaysListed = []string{"activities", "assets", "devices", "events", "folders", "groups", "notifications", "roles", "users"}

// AlwaysListed returns the names of the collections an application lists from
// its first day, in order.
func AlwaysListed() []string { return slices.Clone(alwaysListed) }

// Of returns the type of the collection a path segment names, in any spelling.
// Segments that can name no collection are IllegalArgument. A type that is not
// Offered is no error here: access is checked before it is answered.
func Of(segment string) (*Type, error) {
	collection := inflect.Collection(segment)
	if t, ok := defaults[collection]; ok {
		return t, nil
	}
	switch {
	case collection == "" || len(collection) > maxName:
		return nil, fault.New(fault.IllegalArgument, "a collection's name has 1 to %d bytes", maxName)
	case strings.HasPrefix(collection, "entity"), strings.HasPrefix(collection, "entities"):
		return nil, fault.New(fault.IllegalArgument, "a collection cannot be called %q", collection)
	case collection == "applications":
		return nil, fault.New(fault.IllegalArgument, "applications are created through /management")
	}
	return &Type{Collection: collection, Name: inflect.Type(collection), Aliases: byName, Unique: byName, Offered: true, declared: named}, nil
}

// maxName bounds the name of a collection: it is part of keys.
const maxName = 256

// Command reports whether the first segment below an application is a command
// of the API rather than a collection.
func Command(segment string) bool {
	switch strings.ToLower(segment) {
	case "auth", "token", "authorize", "credentials", "export", "apm", "hello", "resetroles", "rolenames":
		return true
	}
	return false
}

// Declared returns the names of the properties that the type declares.
func (t *Type) Declared() []string {
	var names []string
	for i := range t.declared {
		names = append(names, t.declared[i].property)
	}
	return names
}

// Rules returns what the state machine must know of the type.
func (t *Type) Rules() command.Rules {
	return command.Rules{Collection: t.Collection, Type: t.Name, Unique: t.Unique, Required: t.Required}
}

// Class returns the declared class of a top-level property, whose name is
// compared without case.
func (t *Type) Class(property string) Class {
	for i := range t.declared {
		if keys.SameFold(t.declared[i].property, property) {
			return t.declared[i].class
		}
	}
	return Undeclared
}

// Dropped reports whether a top-level property of a body is the system's, not
// the client's, and is silently left out: on creation and update alike. The
// name is compared without case. Secrets (Secret) are not among them.
func Dropped(property string) bool {
	return foldedIn(property, "uuid", "type", "created", "modified", "metadata", command.FileMetadata)
}

// DroppedOnUpdate reports what Dropped does, for updates, which leave out more.
func DroppedOnUpdate(property string) bool {
	return Dropped(property) || foldedIn(property, "membership", "connection")
}

// Secret reports whether a property of a user is a credential, which is never
// stored as a property, shown, or echoed.
func (t *Type) Secret(property string) bool {
	return t.Collection == "users" && foldedIn(property, "password", "pin", "oldpassword", "newpassword", "credentials", "credentialshistory")
}

func foldedIn(s string, words ...string) bool {
	for _, w := range words {
		if keys.SameFold(s, w) {
			return true
		}
	}
	return false
}
