package entity

import "strings"

// Verbs of the edges that are no connections but memberships: the sub-collections of
// default types. No client can name them, because of the zero byte they begin with.
const (
	VerbRoles   = "\x00roles"   // user or group → role
	VerbGroups  = "\x00groups"  // user → group
	VerbDevices = "\x00devices" // user → device
)

// Membership returns the verb of a sub-collection that is known by a name, and the
// collections that it may lead from and to: of memberships that leave an application
// with its export.
func Membership(name string) (verb string, from []string, to string, ok bool) {
	switch name {
	case "roles":
		return VerbRoles, []string{"users", "groups"}, "roles", true
	case "groups":
		return VerbGroups, []string{"users"}, "groups", true
	case "devices":
		return VerbDevices, []string{"users"}, "devices", true
	}
	return "", nil, "", false
}

// ReservedVerb reports whether a verb is one of memberships, which is not listed with
// the connections of an entity.
func ReservedVerb(verb string) bool { return strings.HasPrefix(verb, "\x00") }
