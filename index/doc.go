// Package index turns an entity into the index entries it is found by.
//
// Entries are a pure function of the entity and of what its collection
// declares: a replica, a rebuild and a check compute the same set. An update
// writes the difference of two such sets, so an entry that keeps its place
// costs nothing. The package writes nothing itself: its caller puts entity and
// entries into one batch, so they become visible together or not at all.
//
// In this version an entity adds the key that leads from its UUID to its seq,
// and one key for every value of a unique property.
//
// The package also walks the top level of an entity's JSON (Object), which is
// what uniqueness and merging go by. It does not choose which index answers a
// query; that is query's.
package index
