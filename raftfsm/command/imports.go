package command

import (
	"encoding/binary"

	"github.com/trellisdb/trellis/storage/entity"
)

// ImportItem is an entity that is to be what it was elsewhere: its id and times are
// those it had.
type ImportItem struct {
	NewEntity
	Permissions []string // of a user, group or role, each as it is compared
	Line        uint64   // where it stands in what is imported, for messages
}

// ImportEntities adds entities of one collection, each by itself. One whose id the
// collection has already is left as it is, or if Replace takes the place of what is
// there: properties, times, credentials and permissions; its connections and its data
// stay.
//
// With Adopt an entity that has the item's unique value, and neither connections nor
// members, gives way to the item: it is what a new application has of itself.
//
// Outcome.Handled is how many were added or replaced, and Outcome.Errors says why some
// could not be: Duplicate, EntityTooLarge, UnexpectedEntityType (the id is that of an
// entity of another collection), IllegalArgument. Both are also noted in the job of
// Note. Fault: IllegalArgument (more than MaxMany items).
type ImportEntities struct {
	Rules   Rules
	Items   []ImportItem
	Replace bool
	Adopt   bool
	Note    JobNote
}

// ImportEdge is an edge that is to be made; one that exists stays as it is.
type ImportEdge struct {
	Source, Target Ref
	Verb           string
	Line           uint64
}

// ImportEdges makes edges, each by itself, and brings nothing into the feeds of new
// followers: ImportFeeds does. Outcome.Handled is how many there are now,
// and Outcome.Errors says why some could not be made: ServiceResourceNotFound,
// IllegalArgument. Both are also noted in the job of Note. Fault: IllegalArgument
// (more than MaxMany edges).
type ImportEdges struct {
	Edges []ImportEdge
	Note  JobNote
}

// JobNote says how far a job has come with one of its files.
type JobNote struct {
	Job      entity.ID // zero: there is none, and nothing is noted
	File     uint32
	Position uint64 // bytes of the file that were read
	Lines    uint64 // of the file that were read
	// Refused are items that were not even tried.
	Refused []entity.JobError
}

// NoteJob notes how far a job has come, and nothing else. A job that is not there any
// more is left alone.
type NoteJob struct{ Note JobNote }

// PutJob records a job, or changes one, and the task that does its work, in one step.
// What its files have counted so far stays, unless Recount. At most MaxMany files may
// be named. The times of the job are those of the commands. If Settle, a job that is
// known keeps what it was, and its state is what its files say: FINISHED or FAILED once
// all have ended; one that is not there is left alone. Faults: IllegalArgument;
// TooManyRequests if the application has entity.MaxJobs already; those of PutTask.
type PutJob struct {
	Job     entity.Job
	Files   []entity.JobFile
	Recount bool
	Settle  bool
	Task    *NewTask // nil: none
}

// DropJobs removes jobs that have ended, with what is noted of their files. Others are
// left alone.
type DropJobs struct{ Jobs []entity.ID }

func (ImportEntities) kind() Kind { return KindImportEntities }
func (ImportEdges) kind() Kind    { return KindImportEdges }
func (NoteJob) kind() Kind        { return KindNoteJob }
func (PutJob) kind() Kind         { return KindPutJob }
func (DropJobs) kind() Kind       { return KindDropJobs }

// minItem is the size of the smallest item of an import, minImportEdge that of the
// smallest edge.
const (
	minItem       = minEntity + 1 + 1
	minImportEdge = 2*minRef + 1 + 1
)

func (o ImportEntities) appendBody(dst []byte) []byte {
	dst = appendRules(dst, &o.Rules)
	dst = appendBool(appendBool(dst, o.Replace), o.Adopt)
	dst = appendNote(dst, &o.Note)
	dst = binary.AppendUvarint(dst, uint64(len(o.Items)))
	for i := range o.Items {
		item := &o.Items[i]
		dst = appendStrings(appendEntity(dst, &item.NewEntity), item.Permissions)
		dst = binary.AppendUvarint(dst, item.Line)
	}
	return dst
}

func (d *Decoder) importEntities(r *reader) Op {
	o := ImportEntities{Rules: d.readRules(r), Replace: r.bool(), Adopt: r.bool(), Note: r.note()}
	if n := r.count(minItem); n > 0 {
		o.Items = make([]ImportItem, n)
		for i := range o.Items {
			o.Items[i] = ImportItem{NewEntity: r.entity(), Permissions: r.strings(), Line: r.uvarint()}
		}
	}
	return o
}

func (o ImportEdges) appendBody(dst []byte) []byte {
	dst = appendNote(dst, &o.Note)
	dst = binary.AppendUvarint(dst, uint64(len(o.Edges)))
	for i := range o.Edges {
		e := &o.Edges[i]
		dst = appendString(appendRef(appendRef(dst, &e.Source), &e.Target), e.Verb)
		dst = binary.AppendUvarint(dst, e.Line)
	}
	return dst
}

func (r *reader) importEdges() Op {
	o := ImportEdges{Note: r.note()}
	if n := r.count(minImportEdge); n > 0 {
		o.Edges = make([]ImportEdge, n)
		for i := range o.Edges {
			o.Edges[i] = ImportEdge{Source: r.ref(), Target: r.ref(), Verb: r.string(), Line: r.uvarint()}
		}
	}
	return o
}

func appendNote(dst []byte, n *JobNote) []byte {
	if n.Job.IsZero() {
		return append(dst, 0)
	}
	dst = append(append(dst, 1), n.Job[:]...)
	for _, number := range []uint64{uint64(n.File), n.Position, n.Lines, uint64(len(n.Refused))} {
		dst = binary.AppendUvarint(dst, number)
	}
	for i := range n.Refused {
		dst = appendBytes(dst, entity.AppendJobError(nil, &n.Refused[i]))
	}
	return dst
}

func (r *reader) note() JobNote {
	if !r.bool() {
		return JobNote{}
	}
	n := JobNote{Job: r.id(), File: r.number(), Position: r.uvarint(), Lines: r.uvarint()}
	if n.Job.IsZero() {
		r.fail()
	}
	if count := r.count(1); count > 0 {
		n.Refused = make([]entity.JobError, count)
		for i := range n.Refused {
			var err error
			if n.Refused[i], err = entity.DecodeJobError(r.bytes()); err != nil {
				r.fail()
			}
		}
	}
	return n
}

func (o NoteJob) appendBody(dst []byte) []byte { return appendNote(dst, &o.Note) }

func (o PutJob) appendBody(dst []byte) []byte {
	dst = appendBytes(dst, entity.AppendJob(nil, &o.Job))
	dst = binary.AppendUvarint(dst, uint64(len(o.Files)))
	for i := range o.Files {
		dst = appendBytes(dst, entity.AppendJobFile(nil, &o.Files[i]))
	}
	dst = appendBool(appendBool(dst, o.Recount), o.Settle)
	if dst = appendBool(dst, o.Task != nil); o.Task != nil {
		dst = PutTask{Task: *o.Task}.appendBody(dst)
	}
	return dst
}

func (r *reader) putJob() Op {
	var o PutJob
	var err error
	if o.Job, err = entity.DecodeJob(r.bytes()); err != nil {
		r.fail()
	}
	if n := r.count(1); n > 0 {
		o.Files = make([]entity.JobFile, n)
		for i := range o.Files {
			if o.Files[i], err = entity.DecodeJobFile(r.bytes()); err != nil {
				r.fail()
			}
		}
	}
	o.Recount, o.Settle = r.bool(), r.bool()
	if r.bool() {
		t := r.newTask()
		o.Task = &t
	}
	return o
}

func (o DropJobs) appendBody(dst []byte) []byte { return appendIDs(dst, o.Jobs) }
