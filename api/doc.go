// Package api is the front door: an HTTP server with a limit on everything a
// client can spend, and the dispatch of paths to the packages that answer them.
//
// The order in which a request is looked at is the one clients can see (spec
// envelope-and-errors section 1): CORS and preflight, JSONP, credentials, the
// application its path names, access, and only then its body and its handler.
// Access to an application is denied unless something grants it.
//
// Paths are dispatched here, on segments that were split before they were
// decoded, and by nothing else: whoever checks a permission sees the very
// segments by which the handler was chosen. Panics end a request, not the
// process. The server keeps no state between requests.
package api
