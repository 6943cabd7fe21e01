// Package raftlog keeps what Raft itself remembers of one partition in the log
// DB: log entries, term and vote, and snapshot markers.
//
// A snapshot is a marker: index, term and configuration of a state that is on
// disk. It holds no data, because the state DB does.
package raftlog
