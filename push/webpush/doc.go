// Package webpush sends notifications to browsers: RFC 8030, encrypted by RFC 8291 and
// signed for by RFC 8292.
//
// What a caller can rely on:
//
//   - An endpoint, which is a URL that comes from a client, is posted to only by https,
//     and never on a private network.
//   - Every message is encrypted with a key and a salt of its own, for the keys of the
//     subscription.
//   - A signed token serves all endpoints of an origin for some hours.
//   - A service that refuses several subscriptions in a row, and takes none, is taken to
//     refuse the notifier.
//
// Web push has no name for a message that is sent twice. With a topic a message takes
// the place of the one before, as long as that has not been delivered.
package webpush
