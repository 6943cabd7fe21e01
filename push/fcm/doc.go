// Package fcm sends notifications by Google's Firebase Cloud Messaging: its HTTP v1
// API for notifiers with a service account, and the legacy API for those with a key
// only, if the operator has given an endpoint that still speaks it.
//
// What a caller can rely on:
//
//   - A token of access is fetched when a message needs one, by one message at a time,
//     and kept until shortly before it expires. One that Google has refused is replaced
//     once for a message.
//   - The address that a service account names for tokens is asked only if it is
//     Google's, and never one on a private network.
//   - Messages by the v1 API go singly. A legacy sender is a provider.Batcher.
//   - Legacy: a key that is refused fails every message, and takes no token for dead.
//
// FCM has no name for a message that is sent twice: a message of which nobody knows
// whether Google has it may come twice. With a collapse_key the device shows one.
package fcm
