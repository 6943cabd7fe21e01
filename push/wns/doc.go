// Package wns sends notifications by the Windows Push Notification Services.
//
// What a caller can rely on:
//
//   - A channel, which is a URL that comes from a client, is posted to only if it is
//     https and its host is one of the configuration's, and never on a private network.
//   - A token of access is fetched when a message needs one, and kept until shortly
//     before it expires. One that WNS has refused is replaced once for a message.
//   - A payload of several parts (toast, badge, tile, raw) is one message: the parts go
//     one after the other in that order, and a Result says how many were taken.
//
// WNS has no name for a message that is sent twice.
package wns
