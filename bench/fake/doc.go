// Package fake is a stand-in for the server in the tests of the harness: the
// routes the harness uses, in memory, with a journal that survives kill -9.
//
// It can be told to break a promise, because a harness that has never seen a
// broken promise proves nothing.
package fake
