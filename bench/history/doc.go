// Package history lets clients work on a cluster at once, records what each
// asked and was answered and when, and decides whether one copy of the data,
// changed by one request after the other, could have answered the same: whether
// the history is linearizable.
//
// The unit is a key: a name in a collection of an application. A key is
// absent or holds a number that no other write ever writes, so every state
// tells which write made it. What is recorded of a request is one of
//
//   - done: answered, with what it saw;
//   - refused: a name that is taken, or not there; both are checked like reads;
//   - unknown: not answered, or 503, until the client gave up. It may take
//     effect at any later time, or never.
//
// A write is sent again under one Idempotency-Key until it is answered, and
// counts as one operation from its first call to its last answer: a server that
// takes a retry for a second write shows.
//
// Listings count as reads of the keys they show, and a walk over all pages also
// as reads of those it does not show. Reads that ask for stale data are kept
// apart: they must show something that was written, and nothing older than the
// answer says.
//
// Times are of this process's monotonic clock.
package history
