package portage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/trellisdb/trellis/query/dump"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/portable"
)

// exported is an application of an export.
type exported struct {
	Number entity.AppID
	ID     entity.ID
	Name   string // org/app
}

// exporting is the body of the task of an export. The first task lies in the system
// partition, with the job, and records one for each application in the application's own partition.
type exporting struct {
	Access      access
	Prefix      string
	Job         entity.ID
	Only        string
	Credentials bool
	NoData      bool
	Apps        []exported // of the first task; of the others the one
	Next        int        // of the first task: the application whose task is recorded next
	File        uint32     // of the others: that of the job that is the application
	Slice       int        // files written
	Bytes       uint64
	Lines       uint64
	At          dump.Position
}

// maxExported is how many applications one export may have.
const maxExported = 400

// ExportStep does the next step of an export.
func (h *Handlers) ExportStep(ctx context.Context, task *entity.Task, host Host) (Step, error) {
	var body exporting
	if err := h.open(task, &body); err != nil {
		return Step{}, err
	}
	var s Step
	var err error
	if task.App == entity.Management {
		s, err = h.spread(ctx, task, &body, host)
	} else {
		s, err = h.exportStep(ctx, task, &body, host)
	}
	if err == nil && !s.Finish {
		s.Body, err = h.seal(task.ID, &body)
	}
	if err == nil || ctx.Err() != nil || !hopeless(task, err) {
		return s, err
	}
	if task.App == entity.Management {
		return failed(task, host, err)
	}
	if told := report(ctx, &body, host, entity.JobFailed, why(err)); told != nil {
		return Step{}, told
	}
	return Step{Finish: true, Done: task.Done}, nil
}

// spreadStep is how many tasks one step records.
const spreadStep = 20

// spread records the tasks of the applications. Their ids are made of the job's, so that
// none is recorded twice.
func (h *Handlers) spread(ctx context.Context, task *entity.Task, body *exporting, host Host) (Step, error) {
	for range spreadStep {
		if body.Next >= len(body.Apps) {
			return Step{Finish: true, Done: task.Done}, nil
		}
		app := &body.Apps[body.Next]
		child := exporting{
			Access: body.Access, Prefix: body.Prefix, Job: body.Job, Only: body.Only, Credentials: body.Credentials, NoData: body.NoData,
			Apps: []exported{*app}, File: uint32(body.Next),
		}
		id := childID(body.Job, child.File)
		sealed, err := h.seal(id, &child)
		if err != nil {
			return Step{}, err
		}
		err = host.Propose(ctx, app.Number, command.PutTask{Task: command.NewTask{ID: id, Kind: entity.TaskExport, Priority: entity.Idle, Body: sealed}})
		if fault.Is(err, fault.NotFound) { // purged meanwhile
			err = report(ctx, &child, host, entity.JobFailed, "the application was deleted")
		}
		if err != nil {
			return Step{}, err
		}
		body.Next++
	}
	return Step{Done: task.Done + spreadStep}, nil
}

// childID is the id of the task that exports one application.
func childID(job entity.ID, file uint32) entity.ID {
	sum := sha256.Sum256(binary.BigEndian.AppendUint32(append([]byte(entity.TaskExport), job[:]...), file))
	id := entity.ID(sum[:16])
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80 // version 8: of one's own making
	return id
}

// report notes in the job how an application ended. To do it twice does no harm.
func report(ctx context.Context, body *exporting, host Host, state entity.JobState, message string) error {
	f := entity.JobFile{
		Number: body.File, State: state, Name: body.Apps[0].Name, Size: body.Bytes, Position: body.Bytes, Lines: body.Lines, Message: message,
	}
	return host.Propose(ctx, entity.Management, command.PutJob{
		Job: entity.Job{ID: body.Job, Kind: entity.JobExport, State: entity.JobStarted}, Files: []entity.JobFile{f}, Recount: true, Settle: true,
	})
}

// exportStep writes the next file of an application. Each is whole in itself, and of one
// moment; a step that is repeated replaces what it wrote.
func (h *Handlers) exportStep(ctx context.Context, task *entity.Task, body *exporting, host Host) (Step, error) {
	if len(body.Apps) != 1 {
		return Step{}, fault.New(fault.Corrupt, "the task of an export names %d applications", len(body.Apps))
	}
	bucket, err := h.bucket(&body.Access)
	if err != nil {
		return Step{}, err
	}
	app := &body.Apps[0]
	organization, name, _ := strings.Cut(app.Name, "/")
	var content bytes.Buffer
	w := portable.NewWriter(&content)
	view, err := host.View()
	if err != nil {
		return Step{}, err
	}
	at, done, err := dump.Slice(ctx, view, dump.Options{
		App: task.App, Only: body.Only, Credentials: body.Credentials, NoData: body.NoData, Objects: h.data.Open, Header: portable.Header{
			Organization: organization, Application: name, UUID: app.ID.String(), Exported: time.Now().UnixMilli(),
		},
	}, body.At, w, int64(h.cfg.SliceBytes))
	if err = errors.Join(err, view.Close()); err != nil {
		return Step{}, err
	}
	key := fmt.Sprintf("%s%s/%s.%06d.json", prefixed(body.Prefix), app.Name, body.Job, body.Slice)
	if err := bucket.Put(ctx, key, &content, int64(content.Len())); err != nil {
		return Step{}, err
	}
	body.At, body.Slice = at, body.Slice+1
	body.Bytes += uint64(w.Bytes())
	body.Lines += w.Lines() + 1
	state := entity.JobStarted
	if done {
		state = entity.JobFinished
	}
	if err := report(ctx, body, host, state, ""); err != nil {
		return Step{}, err
	}
	return Step{Finish: done, Done: body.Lines}, nil
}

func prefixed(prefix string) string {
	if prefix == "" || strings.HasSuffix(prefix, "/") {
		return prefix
	}
	return prefix + "/"
}
