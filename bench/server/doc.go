// Package server owns the processes the harness measures: it builds and starts
// a server, waits until it is ready, stops it gently or kills it, and reads
// what it used from /proc and from its metrics.
//
// Only processes started here are ever signalled, by their own handle.
package server
