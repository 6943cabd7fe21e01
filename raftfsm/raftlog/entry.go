package raftlog

import (
	"encoding/binary"
	"time"

	"github.com/hashicorp/raft"

	"github.com/trellisdb/trellis/storage/fault"
)

const entryVersion = 1

// appendEntry appends the stored form of a log entry, without its index.
//
//	version 1 · type 1 · term uvarint · appended at (ns) varint ·
//	size of extensions uvarint · extensions · data
func appendEntry(dst []byte, e *raft.Log) []byte {
	dst = append(dst, entryVersion, byte(e.Type))
	dst = binary.AppendUvarint(dst, e.Term)
	var at int64
	if !e.AppendedAt.IsZero() {
		at = e.AppendedAt.UnixNano()
	}
	dst = binary.AppendVarint(dst, at)
	dst = binary.AppendUvarint(dst, uint64(len(e.Extensions)))
	dst = append(dst, e.Extensions...)
	return append(dst, e.Data...)
}

// decodeEntry reads what appendEntry wrote, or returns fault.Corrupt. Data and
// extensions alias b. The index is not part of b and is left zero.
func decodeEntry(b []byte, e *raft.Log) error {
	if len(b) < 2 || b[0] != entryVersion || b[1] > byte(raft.LogConfiguration) {
		return fault.New(fault.Corrupt, "log entry: bad header")
	}
	*e = raft.Log{Type: raft.LogType(b[1])}
	rest := b[2:]
	term, n := binary.Uvarint(rest)
	if n <= 0 {
		return fault.New(fault.Corrupt, "log entry: bad term")
	}
	rest = rest[n:]
	at, n := binary.Varint(rest)
	if n <= 0 {
		return fault.New(fault.Corrupt, "log entry: bad time")
	}
	rest = rest[n:]
	size, n := binary.Uvarint(rest)
	if n <= 0 || size > uint64(len(rest)-n) {
		return fault.New(fault.Corrupt, "log entry: bad extensions")
	}
	rest = rest[n:]
	e.Term = term
	if at != 0 {
		e.AppendedAt = time.Unix(0, at)
	}
	if size > 0 {
		e.Extensions = rest[:size:size]
	}
	e.Data = rest[size:]
	return nil
}
