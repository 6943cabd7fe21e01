// Package index turns an entity into the index entries it is found by.
//
// Entries are a pure function of the entity, of what its collection declares and of a
// plan: a replica, a rebuild and a check compute the same set. An update writes the
// difference of two such sets, so an entry that keeps its place costs nothing. The
// package writes nothing itself: its caller puts entity and entries into one batch, so
// they become visible together or not at all, and keeps bitmaps and statistics by what
// a set says the entity uses.
//
// An entity adds the key that leads from its UUID to its seq, one key for every value
// of a unique property, and, unless the plan says that nothing is indexed: its times;
// of every property covered, its values, their words, its places; and the combinations
// of values of composite indexes.
//
// What a query compares with is defined here too, so that looking at an entity and
// looking into an index agree: which values an entity has (Flatten), what words a text
// has (Words), how far places are from each other (Distance).
//
// The package also walks the top level of an entity's JSON (Object), which is
// what uniqueness and merging go by. It does not choose which index answers a
// query; that is query's.
package index
