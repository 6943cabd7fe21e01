package entity

import (
	"encoding/binary"

	"github.com/trellisdb/trellis/storage/fault"
)

// Task is durable background work of a partition: what is to be done, how far
// it has come, and when the next step is due.
type Task struct {
	ID        ID     // unique in its partition
	Kind      string // which handler runs it: see ValidTaskKind
	App       AppID  // on whose behalf; NoApp: the partition's own
	Priority  Priority
	State     TaskState
	Created   int64  // ms since the epoch
	NotBefore int64  // when the next step is due, ms since the epoch, 0 and up
	Step      uint64 // steps that were done
	// Turn grows with every change of the task. Whoever proposes one names the
	// turn it saw, so that of two only the first has an effect.
	Turn      uint64
	Attempts  uint32 // failures since the last step that was done
	Done      uint64 // progress, in units of the kind
	Total     uint64 // 0: not known
	Body      []byte // the kind's own, up to MaxTaskBody bytes
	LastError string // of the last failure, up to MaxTaskError bytes
}

// Bounds of a task's parts, in bytes. Apply decides by them, so they are no settings.
const (
	MaxTaskKind  = 64
	MaxTaskBody  = 64 << 10
	MaxTaskError = 1 << 10
)

// Kinds of task that commands record by themselves, those of every partition, and those
// that requests have recorded.
const (
	TaskPurgeApplication = "purge-application"
	TaskExpireTokens     = "expire-tokens"
	TaskReseal           = "reseal"
	TaskDropEdges        = "drop-edges"
	TaskReindex          = "reindex"
	TaskClear            = "clear-collection"
	TaskMail             = "mail"
	TaskFanOut           = "feed-fan-out"
	TaskFollow           = "feed-follow"
)

// Priority orders what is due: smaller ones go first.
type Priority byte

// Priorities.
const (
	Urgent Priority = 1 // a person waits for it
	Normal Priority = 2
	Idle   Priority = 3 // has days
)

// TaskState says whether a task is run.
type TaskState byte

// States of a task. One that is done is not there any more.
const (
	TaskReady TaskState = 1 // its next step runs when it is due
	TaskDead  TaskState = 2 // failed too often; it waits for a person
)

// String returns the state in words.
func (s TaskState) String() string {
	switch s {
	case TaskReady:
		return "ready"
	case TaskDead:
		return "dead"
	}
	return "unknown"
}

// ValidTaskKind reports whether a kind of task may be called so: 1 to
// MaxTaskKind lower-case letters, digits and dashes of ASCII.
func ValidTaskKind(kind string) bool {
	if kind == "" || len(kind) > MaxTaskKind {
		return false
	}
	for _, c := range []byte(kind) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

const taskVersion = 1

// AppendTask appends the stored form: version 1 · state 1 · priority 1 · id 16 ·
// application, created, not before, step, turn, attempts, done and total, all
// uvarint but created, which is a varint · kind, body and last error, each with its
// length as uvarint before it.
func AppendTask(dst []byte, t *Task) []byte {
	dst = append(dst, taskVersion, byte(t.State), byte(t.Priority))
	dst = append(dst, t.ID[:]...)
	dst = binary.AppendUvarint(dst, uint64(t.App))
	dst = binary.AppendVarint(dst, t.Created)
	for _, n := range []uint64{uint64(t.NotBefore), t.Step, t.Turn, uint64(t.Attempts), t.Done, t.Total} {
		dst = binary.AppendUvarint(dst, n)
	}
	dst = append(binary.AppendUvarint(dst, uint64(len(t.Kind))), t.Kind...)
	dst = append(binary.AppendUvarint(dst, uint64(len(t.Body))), t.Body...)
	return append(binary.AppendUvarint(dst, uint64(len(t.LastError))), t.LastError...)
}

// DecodeTask reads what AppendTask wrote, or returns fault.Corrupt. The body is the
// caller's own.
func DecodeTask(b []byte) (Task, error) {
	bad := fault.New(fault.Corrupt, "task record: damaged or of another version")
	if len(b) < 19 || b[0] != taskVersion || b[1] < byte(TaskReady) || b[1] > byte(TaskDead) {
		return Task{}, bad
	}
	t := Task{State: TaskState(b[1]), Priority: Priority(b[2])}
	copy(t.ID[:], b[3:])
	b = b[19:]
	app, b, ok := uvarint(b)
	if !ok || app > 1<<32-1 {
		return Task{}, bad
	}
	t.App = AppID(app)
	if t.Created, b, ok = varint(b); !ok {
		return Task{}, bad
	}
	var numbers [6]uint64
	for i := range numbers {
		if numbers[i], b, ok = uvarint(b); !ok {
			return Task{}, bad
		}
	}
	if numbers[0] > 1<<63-1 || numbers[3] > 1<<32-1 {
		return Task{}, bad
	}
	t.NotBefore, t.Step, t.Turn = int64(numbers[0]), numbers[1], numbers[2]
	t.Attempts, t.Done, t.Total = uint32(numbers[3]), numbers[4], numbers[5]
	var body string
	for _, s := range []*string{&t.Kind, &body, &t.LastError} {
		if *s, b, ok = text(b); !ok {
			return Task{}, bad
		}
	}
	if body != "" {
		t.Body = []byte(body)
	}
	if len(b) != 0 || !ValidTaskKind(t.Kind) || len(t.Body) > MaxTaskBody || len(t.LastError) > MaxTaskError {
		return Task{}, bad
	}
	return t, nil
}

// Layout of the id of a job that says of how many entities it is: that of NewID as
// version 8, the last 5 bytes the number.
const jobCountBytes = 5

// NewJobID returns an id for a task, or several of one job, that says how many entities
// the job is about; more than 2^40-1 count as that. A task that is done is there no more,
// and its id is all that can tell. Proposers call it; apply never does.
func NewJobID(count uint64) ID {
	id := NewID()
	id[6] = id[6]&0x0f | 0x80
	count = min(count, 1<<(8*jobCountBytes)-1)
	for i := range jobCountBytes {
		id[len(id)-1-i] = byte(count >> (8 * i))
	}
	return id
}

// JobCount returns the number that NewJobID was given; 0 for an id of another kind.
func JobCount(id ID) (count uint64) {
	if id[6]>>4 != 8 {
		return 0
	}
	for _, b := range id[len(id)-jobCountBytes:] {
		count = count<<8 | uint64(b)
	}
	return count
}
