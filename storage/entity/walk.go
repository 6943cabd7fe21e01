package entity

import (
	"encoding/binary"

	"github.com/trellisdb/trellis/storage/fault"
)

// Walk is the body of a task that goes through the entities of a collection, oldest
// first: of TaskReindex and TaskClear.
type Walk struct {
	Collection string
	Next       Seq   // the first that was not looked at
	Until      Seq   // the first that is not meant: it was added after the task was recorded
	Time       int64 // ms since the epoch: modified then or later, or to be cleared only if modified before; 0: any
	// Generation is the plan that all entities are to be indexed by at least, after
	// TaskReindex. For TaskClear it is 0, or WalkOrphans.
	Generation uint32
}

// WalkOrphans is the generation of a walk of TaskClear that has come from groups to roles:
// of them only those are meant whose group is gone.
const WalkOrphans = 1

// Orphans reports whether a walk of TaskClear is about roles whose group is gone.
func (w *Walk) Orphans() bool { return w.Generation == WalkOrphans }

const walkVersion = 1

// AppendWalk appends the stored form: version 1 · next, until, generation uvarints ·
// time varint · name of the collection.
func AppendWalk(dst []byte, w *Walk) []byte {
	dst = append(dst, walkVersion)
	dst = binary.AppendUvarint(dst, uint64(w.Next))
	dst = binary.AppendUvarint(dst, uint64(w.Until))
	dst = binary.AppendUvarint(dst, uint64(w.Generation))
	dst = binary.AppendVarint(dst, w.Time)
	return append(dst, w.Collection...)
}

// DecodeWalk reads what AppendWalk wrote, or returns fault.Corrupt.
func DecodeWalk(b []byte) (Walk, error) {
	bad := fault.New(fault.Corrupt, "body of a walk over a collection: damaged or of another version")
	if len(b) == 0 || b[0] != walkVersion {
		return Walk{}, bad
	}
	var numbers [3]uint64
	b = b[1:]
	for i := range numbers {
		var ok bool
		if numbers[i], b, ok = uvarint(b); !ok {
			return Walk{}, bad
		}
	}
	at, b, ok := varint(b)
	if !ok || numbers[2] > 1<<32-1 {
		return Walk{}, bad
	}
	return Walk{Collection: string(b), Next: Seq(numbers[0]), Until: Seq(numbers[1]), Generation: uint32(numbers[2]), Time: at}, nil
}
