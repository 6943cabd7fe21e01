package portage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/objects"
	"github.com/trellisdb/trellis/storage/portable"
)

// phase is what an import is about.
type phase byte

// Phases of an import, in their order. Nothing is imported of a file that is damaged,
// and edges come after the entities of all files.
const (
	listing phase = iota
	verifying
	addingEntities
	addingEdges // and data, feeds and counters
)

// importing is the body of the task of an import.
type importing struct {
	Access  access
	Prefix  string
	Replace bool
	Phase   phase
	After   string // key of the last file that was listed
	Files   uint32 // listed so far
	File    uint32 // at hand
	Point   Point  // in it
	Saved   []byte // state of the reader that verifies it
	// Application is the id of the application that is imported into.
	Application entity.ID
}

// ImportStep does the next step of an import.
func (h *Handlers) ImportStep(ctx context.Context, task *entity.Task, host Host) (Step, error) {
	var body importing
	if err := h.open(task, &body); err != nil {
		return Step{}, err
	}
	s, err := h.importStep(ctx, task, &body, host)
	if err == nil && !s.Finish {
		s.Body, err = h.seal(task.ID, &body)
	}
	if err == nil || ctx.Err() != nil || !hopeless(task, err) {
		return s, err
	}
	return failed(task, host, err)
}

// failed ends a task whose job cannot be done.
func failed(task *entity.Task, host Host, cause error) (Step, error) {
	view, err := host.View()
	if err != nil {
		return Step{}, err
	}
	job, ok, err := storage.ReadJob(view, task.App, task.ID)
	if err = errors.Join(err, view.Close()); err != nil {
		return Step{}, err
	}
	s := Step{Finish: true, Done: task.Done}
	if ok {
		job.State, job.Message = entity.JobFailed, why(cause)
		s.Effect = command.PutJob{Job: job}
	}
	return s, nil
}

func (h *Handlers) importStep(ctx context.Context, task *entity.Task, body *importing, host Host) (Step, error) {
	bucket, err := h.bucket(&body.Access)
	if err != nil {
		return Step{}, err
	}
	s := Step{Done: task.Done}
	if body.Phase == listing {
		s.Effect, err = listFiles(ctx, task, body, host, bucket)
		return s, err
	}
	if body.File >= body.Files {
		if body.Phase++; body.Phase > addingEdges {
			s.Finish = true
			return s, nil
		}
		body.File, body.Point, body.Saved = 0, Point{}, nil
		return s, nil
	}
	f, err := jobFile(task, body.File, host)
	if err != nil {
		return s, err
	}
	next := func() { body.File, body.Point, body.Saved = body.File+1, Point{}, nil }
	if f.State == entity.JobFailed {
		next()
		return s, nil
	}
	var whole bool
	if body.Phase == verifying {
		whole, err = verifyFile(ctx, body, &f, bucket)
	} else {
		whole, err = h.importFile(ctx, task, body, &f, bucket, &s)
	}
	switch {
	case damaged(err):
		f.State, f.Message = entity.JobFailed, why(err)
		s.Effect = command.PutJob{Job: entity.Job{ID: task.ID, Kind: entity.JobImport, State: entity.JobStarted}, Files: []entity.JobFile{f}, Settle: true}
		next()
		return s, nil
	case err != nil:
		return s, err
	case !whole:
		return s, nil
	case body.Phase == addingEdges:
		f.State = entity.JobFinished
		s.Effect = command.PutJob{Job: entity.Job{ID: task.ID, Kind: entity.JobImport, State: entity.JobStarted}, Files: []entity.JobFile{f}, Settle: true}
	}
	next()
	return s, nil
}

// damaged reports whether an error is about the content of one file, or that it is gone.
func damaged(err error) bool {
	code := fault.CodeOf(err)
	return code == fault.JSONParse || code == fault.IllegalArgument || code == fault.EntityNotFound
}

func jobFile(task *entity.Task, number uint32, host Host) (entity.JobFile, error) {
	view, err := host.View()
	if err != nil {
		return entity.JobFile{}, err
	}
	f, ok, err := storage.ReadJobFile(view, task.App, task.ID, number)
	if err = errors.Join(err, view.Close()); err == nil && !ok {
		err = fault.New(fault.NotFound, "the import is not there any more")
	}
	return f, err
}

// listed is how many files one step lists.
const listed = 500

// listFiles notes the next files of the bucket.
func listFiles(ctx context.Context, task *entity.Task, body *importing, host Host, bucket *objects.Bucket) (command.Op, error) {
	found, err := bucket.List(ctx, body.Prefix, body.After, listed)
	if err != nil {
		return nil, err
	}
	view, err := host.View()
	if err != nil {
		return nil, err
	}
	job, ok, err := storage.ReadJob(view, task.App, task.ID)
	if err = errors.Join(err, view.Close()); err == nil && !ok {
		err = fault.New(fault.NotFound, "the import is not there any more")
	}
	if err != nil {
		return nil, err
	}
	var files []entity.JobFile
	for i := range found {
		body.After = found[i].Key
		if !importable(found[i].Key) {
			continue
		}
		if body.Files >= entity.MaxJobFiles {
			return nil, fault.New(fault.IllegalArgument, "there are more than %d files", entity.MaxJobFiles)
		}
		files = append(files, entity.JobFile{Number: body.Files, State: entity.JobCreated, Name: found[i].Key, Size: uint64(max(0, found[i].Size))})
		body.Files++
	}
	job.State, job.Files = entity.JobStarted, body.Files
	if len(found) < listed {
		if body.Files == 0 {
			return nil, fault.New(fault.EntityNotFound, "there is no file to be imported: their names end in .json, .ndjson or .jsonl")
		}
		body.Phase = verifying
	}
	return command.PutJob{Job: job, Files: files}, nil
}

func importable(key string) bool {
	if len(key) > entity.MaxJobText {
		return false
	}
	for _, suffix := range []string{".json", ".ndjson", ".jsonl"} {
		if strings.HasSuffix(strings.ToLower(key), suffix) {
			return true
		}
	}
	return false
}

// verifyFile reads on in a file, and refuses one that is cut or damaged.
func verifyFile(ctx context.Context, body *importing, f *entity.JobFile, bucket *objects.Bucket) (whole bool, err error) {
	o := &object{ctx: ctx, bucket: bucket, key: f.Name, size: int64(f.Size)}
	defer func() { err = errors.Join(err, o.Close()) }()
	r := portable.NewReader(o)
	if body.Saved != nil {
		place, err := portable.PlaceOf(body.Saved)
		if err != nil {
			return false, err
		}
		o.at = int64(place.At)
		if r, err = portable.Continue(o, body.Saved); err != nil {
			return false, err
		}
	}
	for until := time.Now().Add(stepTime); time.Now().Before(until); {
		_, err := r.Next()
		switch {
		case errors.Is(err, io.EOF):
			return true, r.Whole()
		case err != nil && (r.Broken() || r.Source() == portable.Trellis):
			return false, err
		}
	}
	body.Saved, err = r.Save()
	return false, err
}

// importFile makes the next batch of a file the effect of the step.
func (h *Handlers) importFile(ctx context.Context, task *entity.Task, body *importing, f *entity.JobFile, bucket *objects.Bucket, s *Step) (whole bool, err error) {
	o := &object{ctx: ctx, bucket: bucket, key: f.Name, at: int64(body.Point.Place.At), size: int64(f.Size)}
	defer func() { err = errors.Join(err, o.Close()) }()
	part := Entities
	if body.Phase == addingEdges {
		part = Edges
	}
	opts := Options{Part: part, Replace: body.Replace, Now: time.Now().UnixMilli(), Had: h.skipper(ctx, task.App, body.Replace)}
	p := NewPlanner(portable.Resume(o, body.Point.Place), body.Point, opts)
	b, err := p.Next()
	if err != nil {
		return false, err
	}
	if b.Data != nil {
		b.Op, err = h.place(ctx, ctx, Placed{task.App, body.Application}, b.Data, &opts)
		if f, ours := lineFault(err); ours {
			b.Refused = append(b.Refused, entity.JobError{Line: b.dataLine, Code: f.Code, Message: why(f)})
			b.Op, err = nil, nil
		}
		if err != nil {
			return false, err
		}
	} else if b.End && b.Op == nil && len(b.Then) == 0 && len(b.Refused) == 0 {
		return true, nil
	}
	note := command.JobNote{Job: task.ID, File: f.Number, Position: b.Next.Place.At, Lines: b.Next.Place.Number, Refused: b.Refused}
	s.Done += b.Next.Place.Number - body.Point.Place.Number
	body.Point = b.Next
	return false, noted(&b, note, s)
}

// noted makes a batch the effect of a step, which the job notes.
func noted(b *Batch, note command.JobNote, s *Step) error {
	switch op := b.Op.(type) {
	case command.ImportData:
		op.Line, op.Note = b.dataLine, note
		s.Effect = op
	case command.ImportFeeds:
		op.Note = note
		s.Effect = op
	case command.ImportCounters:
		op.Note = note
		s.Effect = op
	case command.ImportEntities:
		op.Note = note
		s.Effect = op
	case command.ImportEdges:
		op.Note = note
		s.Effect = op
	case nil:
		s.Effect = command.NoteJob{Note: note}
		if len(b.Then) > 0 {
			s.Effect = command.Together{First: command.NoteJob{Note: note}, Then: b.Then}
		}
	default:
		return fmt.Errorf("import: a batch is a %T", op)
	}
	return nil
}
