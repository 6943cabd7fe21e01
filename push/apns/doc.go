// Package apns sends notifications to Apple's devices, by HTTP/2.
//
// A notifier holds either a key (.p8), with which tokens are signed, or a certificate
// with its key (.p12), which the connection is made with; if it holds both, the key is
// used. One of the environment "mock" sends nothing.
//
// What a caller can rely on:
//
//   - A sender has one connection at a time and keeps it; when Apple says GOAWAY, what
//     it has not looked at goes over the next one, and what it has is answered over the
//     old one.
//   - A signed token serves all notifiers of this process that have the same key, id
//     and team. It is signed anew after 50 minutes, and early only when Apple says that
//     it is expired, which counts once in 20 minutes: Apple refuses those who change it
//     often.
//   - The id of a message is its apns-id, so that a message that is sent again can be
//     told as the same one. Apple does not drop the second.
//   - BadDeviceToken is no dead token, unless the configuration says so.
//   - Opening a certificate takes bounded time, whatever is in the file.
package apns
