// Package portage carries applications out of a cluster and into it: exports that are
// streamed while they are made, and imports, whose lines become commands.
//
// An import can be run again at any time: what is there already stays, by the id of the
// entity or of its data, by the ends of the edge, by the day of a counter. Entities keep
// their ids and times. Entities come first, from all files, and what they have to do with
// after them, so a Planner does one of the two.
//
// Data comes in pieces, each a command of its own. If new data goes to an object store,
// pieces wait in the cluster until all are there.
package portage
