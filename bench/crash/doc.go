// Package crash writes to a server that will be killed, remembers what was
// acknowledged, and verifies afterwards that all of it is there and nothing is
// half there.
//
// Each writer owns names of its own and writes one after the other, so that
// what a name must hold is known exactly: the state of the last acknowledged
// write, or, if a later one was never answered, either that or the whole effect
// of the unanswered one. After an unanswered write the name is left alone until
// the next verification has seen which it was. Besides, all writers race for
// shared names, of which each may be won once.
//
// Every version of an entity carries its number twice, a checksum of name and
// number, and a filler that follows from them, so that a mixture of two
// versions shows.
package crash
