// Package challenge asks whoever sends a public form to show that he is no
// mere script: an arithmetic question, a proof of work that the browser does,
// or the widget of an outside service that the operator has keys of.
//
// Arithmetic and Work need nobody outside and no storage: a question carries
// its own seal, an HMAC over what it is for and until when it counts, so any
// node of the cluster can check an answer to what another one asked. An answer
// counts once. What was spent is remembered by each node for itself and up to
// a bound, so one question may be answered once on each of several nodes, and
// again once so many others were answered that it is forgotten; it never
// counts after its time.
//
// Neither keeps a determined attacker out: arithmetic stops scripts that were
// not written for it, work makes each request cost time. Limits on how many
// mails an account gets are for others to keep.
//
// The package knows no HTML and no routes; api/pages shows what it asks.
package challenge
