// Package pages renders the HTML pages of sign-in, password reset, activation
// and confirmation, and keeps their forms safe (spec management sections 3.5,
// 5.5 and 5.6, auth-and-tokens section 6.4, users-groups-roles sections 1.8
// and 1.9).
//
// Every page is whole in itself: it loads nothing, works without JavaScript
// unless the challenge needs it, and comes with a content security policy that
// lets nothing run or load but what the page was made with. Data goes through
// html/template, so whatever a client sent is shown and never interpreted.
//
// # Forms
//
// The forms go to the URL they came from, without its query: a token in the
// link does not get into the address of the next page. A form carries a token,
// an HMAC over what it is for, its path, its expiry, and a random value that
// the browser holds in a cookie (HttpOnly, SameSite=Strict, for the directory
// of the page). Any node of the cluster can check it and none has to remember
// it. A page that is shown again, or in a second tab, keeps the cookie's value,
// so forms that are still open stay good.
//
// VerifyForm decides as follows, in this order.
//
//  1. A body declared as JSON passes: a page of another site can send one only
//     after the preflight of CORS, which is for the API to answer. A body that
//     only looks like JSON is treated as a form.
//  2. What the browser itself says comes from another site is refused:
//     Sec-Fetch-Site other than same-origin or none, or an Origin of another
//     host. These pages have no referrer, which makes browsers send the Origin
//     "null" with their forms: that says nothing.
//  3. A request with Sec-Fetch-Site, Origin or the cookie is a browser's, and
//     must have a token that fits the cookie.
//  4. Anything else is no browser, so nobody's browser is abused: curl, SDKs and
//     tests post the documented fields and nothing more.
//
// What this is worth, form by form. Signing in at authorize changes whom the
// client takes the browser for, so a site that posts its own account (login
// CSRF) is refused. A link that sets a password carries its authority in its
// token, which another site does not know; the form token only keeps that site
// from submitting its own. A reset that is asked for sends a mail, which anyone
// may ask for directly. The cookie belongs to no session, so somebody who can
// plant cookies (a sibling domain, the network without TLS) can plant a pair
// that fits; with TLS, Sec-Fetch-Site refuses the sibling, and the name
// __Secure- the network.
//
// The package does not know routes, tokens of mails or entities, and does not
// log. It never fails to render.
package pages
