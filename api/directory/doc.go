// Package directory knows organisations, applications, admin users and
// credentials: it resolves the names of a route, and what a request presents to
// prove who it comes from, to the principal that auth decides about.
//
// It reads through views and writes through commands, so what it answers is
// what the state machine holds. What it remembers between requests is bounded
// and valid only while the version of the application it was read from stands
// still: a revoked token, a changed password or a deleted application is
// noticed by the next request.
//
// Passwords are hashed and compared with bcrypt in a bounded number of slots;
// when too many wait, the answer is Overloaded. An unknown user costs the same
// time as a wrong password, and says the same.
//
// The package does not know paths, methods or envelopes, and never logs.
package directory
