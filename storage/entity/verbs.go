package entity

import "strings"

// Verbs of the edges that are no connections but memberships: the sub-collections of
// default types. No client can name them, because of the zero byte they begin with.
const (
	VerbRoles   = "\x00roles"   // user or group → role
	VerbGroups  = "\x00groups"  // user → group
	VerbDevices = "\x00devices" // user → device
)

// ReservedVerb reports whether a verb is one of memberships, which is not listed with
// the connections of an entity.
func ReservedVerb(verb string) bool { return strings.HasPrefix(verb, "\x00") }
