package push

import (
	"encoding/binary"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// phase is how far the task of a notification has come.
type phase byte

const (
	phaseNew     phase = iota // not begun
	phaseResolve              // devices are being found
	phaseSend                 // all are found
	phaseEnd                  // no delivery is open, and nothing is known of them any more
)

const progressVersion = 1

// progress is the body of a task.
type progress struct {
	notification entity.ID
	phase        phase
	number       entity.Seq // of the notification in its collection; 0: not known yet
	waits        uint64     // steps that have found nothing to do, in a row
	cursor       entity.Seq // device up to which open deliveries were ended early
	rest         []byte     // phaseResolve: position in the walk over devices; phaseEnd: why it has failed
}

// append appends the body: notification 16 · version 1 = 1 · phase 1 · number, waits and
// cursor uvarint · rest. A new task has the notification alone.
func (p *progress) append(dst []byte) []byte {
	dst = append(append(dst, p.notification[:]...), progressVersion, byte(p.phase))
	for _, n := range [...]uint64{uint64(p.number), p.waits, uint64(p.cursor)} {
		dst = binary.AppendUvarint(dst, n)
	}
	return append(dst, p.rest...)
}

func decodeProgress(b []byte) (progress, error) {
	bad := fault.New(fault.Corrupt, "task of a notification: damaged or of another version")
	var p progress
	if len(b) < len(p.notification) {
		return p, bad
	}
	b = b[copy(p.notification[:], b):]
	if len(b) == 0 {
		return p, nil
	}
	if len(b) < 2 || b[0] != progressVersion || b[1] > byte(phaseEnd) {
		return p, bad
	}
	p.phase, b = phase(b[1]), b[2:]
	var numbers [3]uint64
	for i := range numbers {
		n, size := binary.Uvarint(b)
		if size <= 0 {
			return p, bad
		}
		numbers[i], b = n, b[size:]
	}
	p.number, p.waits, p.cursor = entity.Seq(numbers[0]), numbers[1], entity.Seq(numbers[2])
	if len(b) > 0 {
		p.rest = b
	}
	return p, nil
}
