// Package signin asks other services whose token a token is: Facebook, Foursquare,
// anything with a userinfo endpoint, and issuers of OpenID Connect.
//
// What a caller can rely on:
//
//   - Check never takes a token on trust. An OpenID Connect ID token is verified here,
//     with the issuer's keys; any other token is shown to the service.
//   - There are two errors, and no third: ErrRefused is about the token, and
//     ErrUnavailable about the service. Neither holds the token or what it was sent in.
//   - Requests go to the URLs of the configuration, and where the documents of an
//     issuer say; never to an address that a client or a tenant gave, and by no proxy.
//     Redirections are followed on the same host only.
//   - What a service answers is bounded in size and time, and only some of it is
//     believed: an id, a name, an address, each bounded. The rest is Profile.Raw.
//   - Nothing is asked at start. A service that is down costs those who sign in with
//     it, and nobody else.
//
// A token that is not an ID token tells that a service knows its bearer, not for
// whom it was made: any application that a person gave one to can use it here. The
// configurations say how that is checked, where the service offers a way.
//
// Making users of profiles is the caller's.
package signin
