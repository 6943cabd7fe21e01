// Package portage carries applications out of a cluster and into it: exports that are
// streamed while they are made, and imports, whose lines become commands.
//
// An import can be run again at any time: what is there already stays, by the id of the
// entity or by the ends of the edge. Entities keep their ids and times. Entities come
// first, from all files, and edges after them, so a Planner does one of the two.
package portage
