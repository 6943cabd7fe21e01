// Package client is the HTTP client of the load harness: as little work a
// request as possible, because it shares the machine with the server it
// measures.
//
// A Conn is one keep-alive connection used by one goroutine. A request is
// bytes prepared by the caller, an answer is a status and a body that is lent
// until the next request. There is no pool, no redirect, no retry: what went
// wrong is what the caller counts. Target adds the few REST calls that set a
// measurement up and verify it, where convenience counts more than speed.
package client
