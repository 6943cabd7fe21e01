// Package collections answers requests about the data of an application: its
// root, its collections, entities and connections, its users, groups and roles, and
// what these are permitted, and the activities that they publish and see (spec
// collections-and-entities, connections, data-model, users-groups-roles,
// activities-and-feeds).
//
// What a body means is settled here, once, before anything goes through Raft:
// Normalize makes compact JSON without the system's properties, of declared
// types, with geo points in their one form. Everything that depends on what is
// stored (existence, uniqueness, merging, order) is decided by the state
// machine.
//
// A path after its first entity is read step by step: dictionaries, sub-collections
// that the type declares, and else connections. Sub-collections are connections by
// verbs that no client can name, so both are listed, queried and followed alike. Outboxes
// and feeds are lists of their own, in the order of publication.
//
// Every request is checked against the caller's permissions before anything
// else is said about it, by all the names of all the entities in its path. What
// the API names and this version does not offer answers NotImplemented, never a
// wrong result.
package collections
