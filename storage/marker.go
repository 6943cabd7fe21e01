package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// Marker says that the state DB holds on disk all that the log did up to an
// index, so that the log may be truncated there. It is what Raft knows as a
// snapshot; the data itself is not copied.
type Marker struct {
	Index              uint64
	Term               uint64
	ConfigurationIndex uint64
	Configuration      []byte // of the Raft group, as its library encodes it
	// Spool names a file in the spool directory: a snapshot received from the
	// leader which brings the state to Index. Empty: the state was there already.
	Spool string
}

const markerVersion = 1

// AppendMarker appends the stored form: version 1 · index · term ·
// configuration index, uvarints · configuration and spool name, each with its
// length as uvarint before it.
func AppendMarker(dst []byte, m *Marker) []byte {
	dst = append(dst, markerVersion)
	dst = binary.AppendUvarint(dst, m.Index)
	dst = binary.AppendUvarint(dst, m.Term)
	dst = binary.AppendUvarint(dst, m.ConfigurationIndex)
	dst = binary.AppendUvarint(dst, uint64(len(m.Configuration)))
	dst = append(dst, m.Configuration...)
	dst = binary.AppendUvarint(dst, uint64(len(m.Spool)))
	return append(dst, m.Spool...)
}

// DecodeMarker reads what AppendMarker wrote, or returns fault.Corrupt. The
// configuration aliases b.
func DecodeMarker(b []byte) (Marker, error) {
	var m Marker
	bad := fault.New(fault.Corrupt, "marker: %d bytes of another form", len(b))
	if len(b) == 0 || b[0] != markerVersion {
		return m, bad
	}
	b = b[1:]
	for _, v := range []*uint64{&m.Index, &m.Term, &m.ConfigurationIndex} {
		n := 0
		if *v, n = binary.Uvarint(b); n <= 0 {
			return Marker{}, bad
		}
		b = b[n:]
	}
	var ok bool
	var spool []byte
	if m.Configuration, b, ok = lengthPrefixed(b); !ok {
		return Marker{}, bad
	}
	if spool, b, ok = lengthPrefixed(b); !ok || len(b) != 0 {
		return Marker{}, bad
	}
	m.Spool = string(spool)
	if strings.ContainsAny(m.Spool, "/\\") || m.Spool == ".." {
		return Marker{}, fault.New(fault.Corrupt, "marker: spool name %q", m.Spool)
	}
	return m, nil
}

func lengthPrefixed(b []byte) (head, rest []byte, ok bool) {
	size, n := binary.Uvarint(b)
	if n <= 0 || size > uint64(len(b)-n) {
		return nil, nil, false
	}
	return b[n : n+int(size)], b[n+int(size):], true
}

// Marker returns a partition's marker, and false if none was ever set.
func (l *Log) Marker(p entity.Partition) (Marker, bool, error) {
	raw, ok, err := get(l.db, nil, logKey(nil, p, kindMarker))
	if err != nil || !ok {
		return Marker{}, false, err
	}
	m, err := DecodeMarker(raw)
	if err != nil {
		return Marker{}, false, fmt.Errorf("partition %d: %w", p, err)
	}
	return m, true, nil
}

// SetMarker sets a partition's marker, synced. It never goes back: a marker
// before the one that stands is not set, nor one at the same index with a
// spool, and false is returned.
//
// A marker without a spool is refused unless the state DB can be brought to
// disk up to its index. If replacement is not nil, the log contradicts the
// marker: all entries up to its index go, in the same step, and the replacement
// takes the place of the one at the index. What stands behind it stays.
func (l *Log) SetMarker(p entity.Partition, m Marker, replacement []byte) (bool, error) {
	if m.Spool == "" {
		if err := l.store.state.FlushTo(p, m.Index); err != nil {
			return false, fmt.Errorf("set marker: %w", err)
		}
	}
	part := l.part(p)
	part.mu.Lock()
	defer part.mu.Unlock()
	if old := part.mark.Load(); old > m.Index || (old == m.Index && old > 0 && m.Spool != "") {
		return false, nil
	}
	b := l.db.NewBatch()
	err := b.Set(logKey(nil, p, kindMarker), AppendMarker(nil, &m), nil)
	first, last := part.first.Load(), part.last.Load()
	if err == nil && replacement != nil {
		err = b.DeleteRange(logKey(nil, p, kindEntry), entryKey(nil, p, m.Index), nil)
		if err == nil {
			err = b.Set(entryKey(nil, p, m.Index), replacement, nil)
		}
		first, last = m.Index, max(last, m.Index)
	}
	if err != nil {
		return false, l.failed(p, errors.Join(err, b.Close()))
	}
	if err := l.commit(part, b, last); err != nil {
		return false, err
	}
	part.first.Store(first)
	part.last.Store(last)
	part.mark.Store(m.Index)
	part.bytes.Store(0)
	return true, nil
}
