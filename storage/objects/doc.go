// Package objects stores bytes by name in a bucket of an S3-compatible object store.
//
// What a caller can rely on:
//
//   - An object is there whole or not at all, whichever way it was written.
//   - Memory is bounded: what is written is streamed, in parts if it is long, and what
//     is read is a stream.
//   - Errors are faults: EntityNotFound for an object that is not there, Unauthorized
//     for credentials or rights the store refuses, IllegalArgument for a name of a
//     bucket or an object that cannot be, NoQuorum for a store that does not answer
//     or asks to be spared: try again. No error holds a key.
//   - Requests go to the endpoint of the configuration, and nowhere else; redirections
//     are not followed.
//
// It speaks the S3 REST API with signatures of version 4, by minio-go. It makes no
// buckets and knows no other store.
package objects
