// Package provider holds the nouns that the clients of push providers share: what a
// notifier is made of, what is sent, and what became of it.
//
// A Provider is one kind of service (apple, google, windows, webpush, noop). It checks
// what a client says of a notifier, translates payloads, and opens a Sender for a
// notifier, which is what a dispatcher keeps and sends with. A Set is all of them;
// push/providers makes it.
//
// What a caller can rely on:
//
//   - Translate and Token are pure. What they made of an accepted payload they make
//     again on every node, at every time.
//   - A Sender owns its connections, tokens of access and waits: one whose service
//     hangs costs those who send with it, and nobody else. It neither tries again nor
//     waits between tries; a Result says all that is needed to do so.
//   - Send ends within the time-out of its configuration for each request it makes
//     (one or two, and as many for a token of access; WNS: for each of up to four
//     parts), or soon after ctx does, or when the sender is closed. Close waits for
//     what runs.
//   - No error, result or printed Notifier holds a credential, and none holds the
//     token or the payload of a device.
//   - An address that a client gave is reached by https only, never by a proxy, never
//     with redirections, and never on this machine or a private network, whatever its
//     name resolves to when it is dialled.
//   - What a service answers is read up to MaxAnswerBytes, and what of it gets into a
//     Result is text of at most MaxMessageBytes.
//
// When to send, to pause a notifier, or to give up is the dispatcher's.
package provider
