// Package query answers queries over the entities of a collection, over those that
// connections lead to, or over the activities of a list.
//
// A query is run on one view, so a page is a picture of one moment. It returns a page
// and, if at least one more entity matches, a cursor for the next one. The order is
// total and a cursor is a place in it, so a walk over the pages meets every entity
// that matches and keeps its place exactly once, whatever is added or deleted
// meanwhile.
//
// How a request is answered:
//
//   - A lens (lens.go) is the condition and the sort keys of a query as they concern
//     the entities of one collection: it looks at an entity and says whether it
//     matches and what it sorts by. Whatever an index has not proved, it decides, so
//     every plan returns the same entities in the same order as a scan with a lens.
//   - The plan (plan.go) is a choice of indexes. It is made by looking: a few keys of
//     each index that could serve are counted, and a plan that turns out to examine too
//     much gives way to another while it runs, at the place it has come to.
//   - Rows (rows.go) yield entities in the default order, walks (walk.go) in the order of
//     an index; sets (collect.go) are collected and bounded.
//
// Memory is bounded by the configuration, and so is work: a query that would examine
// more keys than it may ends with fault.QueryTooCostly, which names the index that
// would help.
//
// The package reads keys and records; it knows nothing of HTTP, of paths, or of who
// may see what.
package query
