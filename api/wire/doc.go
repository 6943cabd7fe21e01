// Package wire is the shape of a request and of a reply as Usergrid clients
// know them: envelopes, the error table, query and body parameters,
// content-type repair, JSONP and CORS (spec envelope-and-errors).
//
// A handler gets a Request, returns a Reply or an error, and sees neither a
// status code nor fasthttp, whose types stop here. Everything a Request hands
// out as a string or as a body is a copy that may be kept; the Request and the
// Reply themselves live only until the handler's reply is written.
//
// The package does not route, authenticate or log: package api does.
package wire
