package keys

import (
	"encoding/binary"

	"github.com/trellisdb/trellis/storage/entity"
)

// AppendTask appends the key of a task's record.
func AppendTask(dst []byte, p entity.Partition, id entity.ID) []byte {
	return append(appendApp(dst, p, entity.NoApp, metaTask), id[:]...)
}

// TaskRange bounds the records of all tasks of a partition.
func TaskRange(p entity.Partition) (lower, upper []byte) {
	return rangeOf(appendApp(nil, p, entity.NoApp, metaTask))
}

// DecodeTask is the inverse of AppendTask.
func DecodeTask(k []byte) (entity.ID, bool) {
	if len(k) != 9+16 || k[8] != metaTask || !isMeta(k) {
		return entity.ID{}, false
	}
	return entity.ID(k[9:]), true
}

// Queued is a task's place in the queue of its partition.
type Queued struct {
	State     entity.TaskState
	Priority  entity.Priority
	App       entity.AppID
	NotBefore int64
	ID        entity.ID
}

// QueuedOf returns the place of a task.
func QueuedOf(t *entity.Task) Queued {
	return Queued{State: t.State, Priority: t.Priority, App: t.App, NotBefore: t.NotBefore, ID: t.ID}
}

// AppendQueued appends the key of a place in the queue; the task's kind lies under it.
//
//	partition 4 · 0 4 · 'q' · state 1 · priority 1 · application 4 · not before 8 · id 16
//
// The application comes before the time: who looks for work steps from one
// application to the next, however many tasks each of them has.
func AppendQueued(dst []byte, p entity.Partition, q Queued) []byte {
	dst = append(appendApp(dst, p, entity.NoApp, metaQueue), byte(q.State), byte(q.Priority))
	dst = binary.BigEndian.AppendUint32(dst, uint32(q.App))
	dst = binary.BigEndian.AppendUint64(dst, uint64(q.NotBefore))
	return append(dst, q.ID[:]...)
}

// QueueRange bounds the places of all tasks in a state.
func QueueRange(p entity.Partition, state entity.TaskState) (lower, upper []byte) {
	return rangeOf(append(appendApp(nil, p, entity.NoApp, metaQueue), byte(state)))
}

// QueuedRange bounds the places of the tasks of an application, in a state and of a
// priority.
func QueuedRange(p entity.Partition, state entity.TaskState, priority entity.Priority, app entity.AppID) (lower, upper []byte) {
	k := append(appendApp(nil, p, entity.NoApp, metaQueue), byte(state), byte(priority))
	return rangeOf(binary.BigEndian.AppendUint32(k, uint32(app)))
}

// DecodeQueued is the inverse of AppendQueued.
func DecodeQueued(k []byte) (Queued, bool) {
	if len(k) != 9+2+4+8+16 || k[8] != metaQueue || !isMeta(k) {
		return Queued{}, false
	}
	q := Queued{
		State: entity.TaskState(k[9]), Priority: entity.Priority(k[10]),
		App: entity.AppID(binary.BigEndian.Uint32(k[11:])), NotBefore: int64(binary.BigEndian.Uint64(k[15:])),
		ID: entity.ID(k[23:]),
	}
	return q, q.NotBefore >= 0
}

// AppendGone appends the key that says that an application was purged from a
// partition, and that nothing of it may be written there any more.
func AppendGone(dst []byte, p entity.Partition, app entity.AppID) []byte {
	return binary.BigEndian.AppendUint32(appendApp(dst, p, entity.NoApp, metaGone), uint32(app))
}

// DecodeGone is the inverse of AppendGone.
func DecodeGone(k []byte) (entity.AppID, bool) {
	if len(k) != 9+4 || k[8] != metaGone || !isMeta(k) {
		return 0, false
	}
	return entity.AppID(binary.BigEndian.Uint32(k[9:])), true
}

func isMeta(k []byte) bool { return k[4]|k[5]|k[6]|k[7] == 0 }

// AppOf returns the application a key belongs to; false if k is too short.
func AppOf(k []byte) (entity.AppID, bool) {
	if len(k) < 8 {
		return 0, false
	}
	return entity.AppID(binary.BigEndian.Uint32(k[4:])), true
}

// DecodeToken is the inverse of AppendToken.
func DecodeToken(k []byte) (app entity.AppID, hash [32]byte, ok bool) {
	if len(k) != 9+32 || k[8] != KindToken {
		return 0, hash, false
	}
	copy(hash[:], k[9:])
	app, _ = AppOf(k)
	return app, hash, true
}
