// Package collections answers requests about the data of an application: its
// root, its collections and entities, and its app users (spec
// collections-and-entities, data-model, users-groups-roles section 1).
//
// What a body means is settled here, once, before anything goes through Raft:
// Normalize makes compact JSON without the system's properties, of declared
// types, with geo points in their one form. Everything that depends on what is
// stored (existence, uniqueness, merging, order) is decided by the state
// machine.
//
// Every request is checked against the caller's permissions before anything
// else is said about it. What the API names and this version does not offer
// answers NotImplemented, never a wrong result.
package collections
