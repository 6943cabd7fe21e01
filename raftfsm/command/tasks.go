package command

import (
	"encoding/binary"

	"github.com/trellisdb/trellis/storage/entity"
)

// NewTask is a task to be recorded. Its application is the command's.
type NewTask struct {
	ID        entity.ID
	Kind      string
	Priority  entity.Priority
	NotBefore int64 // ms since the epoch
	Total     uint64
	Body      []byte
}

// PutTask records a task. If the partition has one with this id, that one stays as
// it is. Fault: IllegalArgument.
type PutTask struct{ Task NewTask }

// StepTask says that a step of a task is done: its effect and the task's new state
// happen together or not at all. Turn must be that of the task, or the command is
// refused: the step has been done already, or the task has changed since. Faults:
// EntityNotFound (done, or cancelled), Conflict (another turn, or dead),
// IllegalArgument, and those of the effect.
type StepTask struct {
	ID   entity.ID
	Turn uint64
	// Effect is run for the task's application; nil: the step changes nothing else.
	// Its kind must be one of MayBeEffect: an entry with another does not decode.
	Effect Op
	Finish bool // the task is done, and its record goes
	// What the task is from now on, unless it is done.
	NotBefore   int64
	Done, Total uint64
	Body        []byte
}

// FailTask says that a step of a task has failed. The next try is due at NotBefore;
// if Dead, only after RetryTask. Faults: EntityNotFound, Conflict (another turn).
type FailTask struct {
	ID        entity.ID
	Turn      uint64
	Error     string // cut at entity.MaxTaskError bytes
	NotBefore int64
	Dead      bool
}

// CancelTask removes a task, whatever its state. Fault: EntityNotFound.
type CancelTask struct{ ID entity.ID }

// RetryTask makes a task that has failed due now, with a clean record. Faults:
// EntityNotFound; Conflict if its last step has not failed.
type RetryTask struct{ ID entity.ID }

// PurgeApplication removes all that the partition holds of the command's
// application, for good: nothing of it is written there any more, and commands that
// would are refused with NotFound. It takes as long however much that is.
type PurgeApplication struct{}

// ForgetApplication removes the record of a deleted application, with its secret and
// its route: its name is free again, its number is not. One that is not among the
// deleted is left alone.
type ForgetApplication struct{ Application entity.ID }

// ExpireTokens removes those of the tokens named that have expired by a time.
type ExpireTokens struct {
	Before int64 // ms since the epoch
	Tokens []TokenRef
}

// TokenRef names a token.
type TokenRef struct {
	App  entity.AppID
	Hash [32]byte
}

func (PutTask) kind() Kind           { return KindPutTask }
func (StepTask) kind() Kind          { return KindStepTask }
func (FailTask) kind() Kind          { return KindFailTask }
func (CancelTask) kind() Kind        { return KindCancelTask }
func (RetryTask) kind() Kind         { return KindRetryTask }
func (PurgeApplication) kind() Kind  { return KindPurgeApplication }
func (ForgetApplication) kind() Kind { return KindForgetApplication }
func (ExpireTokens) kind() Kind      { return KindExpireTokens }

// MayBeEffect reports whether operations of a kind can be the effect of a step.
func (k Kind) MayBeEffect() bool {
	switch k {
	case KindTermStart, KindPutTask, KindStepTask, KindFailTask, KindCancelTask, KindRetryTask, KindScheduleTask:
		return false
	}
	return true
}

func (o PutTask) appendBody(dst []byte) []byte {
	t := &o.Task
	dst = append(dst, t.ID[:]...)
	dst = appendString(dst, t.Kind)
	dst = append(dst, byte(t.Priority))
	dst = binary.AppendVarint(dst, t.NotBefore)
	dst = binary.AppendUvarint(dst, t.Total)
	return appendBytes(dst, t.Body)
}

func (r *reader) putTask() Op { return PutTask{Task: r.newTask()} }

func (r *reader) newTask() NewTask {
	return NewTask{
		ID: r.id(), Kind: r.string(), Priority: entity.Priority(r.byte()), NotBefore: r.varint(), Total: r.uvarint(), Body: r.bytes(),
	}
}

func (o StepTask) appendBody(dst []byte) []byte {
	dst = append(dst, o.ID[:]...)
	dst = binary.AppendUvarint(dst, o.Turn)
	dst = appendBool(dst, o.Finish)
	dst = binary.AppendVarint(dst, o.NotBefore)
	dst = binary.AppendUvarint(binary.AppendUvarint(dst, o.Done), o.Total)
	dst = appendBytes(dst, o.Body)
	if o.Effect == nil {
		return append(dst, 0)
	}
	return o.Effect.appendBody(append(dst, byte(o.Effect.kind())))
}

// stepTask reads a step. A step within a step, which is never written, would make
// reading go as deep as an entry is long.
func (d *Decoder) stepTask(r *reader) Op {
	o := StepTask{
		ID: r.id(), Turn: r.uvarint(), Finish: r.bool(), NotBefore: r.varint(),
		Done: r.uvarint(), Total: r.uvarint(), Body: r.bytes(),
	}
	kind := Kind(r.byte())
	if kind == 0 {
		return o
	}
	if !kind.MayBeEffect() {
		r.fail()
		return o
	}
	if o.Effect = d.op(kind, r); o.Effect == nil {
		return nil
	}
	return o
}

func (o FailTask) appendBody(dst []byte) []byte {
	dst = binary.AppendUvarint(append(dst, o.ID[:]...), o.Turn)
	dst = appendString(dst, o.Error)
	return appendBool(binary.AppendVarint(dst, o.NotBefore), o.Dead)
}

func (r *reader) failTask() Op {
	return FailTask{ID: r.id(), Turn: r.uvarint(), Error: r.string(), NotBefore: r.varint(), Dead: r.bool()}
}

func (o CancelTask) appendBody(dst []byte) []byte        { return append(dst, o.ID[:]...) }
func (o RetryTask) appendBody(dst []byte) []byte         { return append(dst, o.ID[:]...) }
func (o PurgeApplication) appendBody(dst []byte) []byte  { return dst }
func (o ForgetApplication) appendBody(dst []byte) []byte { return append(dst, o.Application[:]...) }

// minTokenRef is the size of the smallest reference to a token.
const minTokenRef = 1 + 32

func (o ExpireTokens) appendBody(dst []byte) []byte {
	dst = binary.AppendVarint(dst, o.Before)
	dst = binary.AppendUvarint(dst, uint64(len(o.Tokens)))
	for i := range o.Tokens {
		dst = binary.AppendUvarint(dst, uint64(o.Tokens[i].App))
		dst = append(dst, o.Tokens[i].Hash[:]...)
	}
	return dst
}

func (r *reader) expireTokens() Op {
	o := ExpireTokens{Before: r.varint()}
	if n := r.count(minTokenRef); n > 0 {
		o.Tokens = make([]TokenRef, n)
		for i := range o.Tokens {
			o.Tokens[i] = TokenRef{App: entity.AppID(r.number()), Hash: r.hash()}
		}
	}
	return o
}
