// Package redirect decides where a client may be sent after it signed in, and
// writes the address (spec auth-and-tokens section 6.4).
//
// A redirect_uri comes from whoever made the link. Parse lets absolute URIs of
// http, https and custom schemes through and nothing a browser would run or
// read from its own machine, so a Target is always safe to put into a Location
// header. Which clients may be sent to is the operator's: an Allow list.
//
// The package makes no request and knows neither tokens nor pages.
package redirect
