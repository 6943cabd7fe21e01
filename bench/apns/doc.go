// Package apns stands in for Apple's push service while a cluster is tormented:
// HTTP/2 over TLS on loopback, signed tokens verified, every notification counted
// by device. It refuses nothing else; how a server gets along with refusals is
// tested elsewhere.
package apns
