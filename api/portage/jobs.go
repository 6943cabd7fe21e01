package portage

import (
	"context"
	"errors"
	"strings"

	"github.com/valyala/fastjson"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// Subject is what a job is about.
type Subject struct {
	Number       entity.AppID // of the application; of an export of all of them 0
	Application  entity.ID
	Organization entity.ID
	Apps         map[string]AppRef // of an export, by "org/app"
	Open         bool
	Collection   string // of an export: the one that is wanted; empty: all
	Credentials  bool   // of an export
	NoData       bool   // of an export
	Replace      bool   // of an import
}

// AppRef names an application.
type AppRef struct {
	Number entity.AppID
	ID     entity.ID
}

// ShownJob is a job as clients see it.
type ShownJob struct {
	UUID       string `json:"uuid"`
	Type       string `json:"type"` // import or export
	State      string `json:"state"`
	Created    int64  `json:"created"`
	Modified   int64  `json:"modified"`
	Target     string `json:"target"` // bucket and prefix
	Collection string `json:"collection,omitempty"`
	Files      uint32 `json:"files"` // known so far; of an export the applications
	Message    string `json:"errorMessage,omitempty"`
}

// ShownFile is a file of a job, or an application of an export.
type ShownFile struct {
	UUID     string `json:"uuid"`
	Type     string `json:"type"`
	State    string `json:"state"`
	Name     string `json:"fileName"`
	Size     uint64 `json:"size"`
	Position uint64 `json:"position"` // bytes that were read or written
	Lines    uint64 `json:"lines"`
	Imported uint64 `json:"importedEntityCount"`
	Existing uint64 `json:"existingEntityCount"`
	Linked   uint64 `json:"importedConnectionCount"`
	Failed   uint64 `json:"failedLineCount"`
	Message  string `json:"errorMessage,omitempty"`
}

// ShownError is why a line of a file could not be imported.
type ShownError struct {
	Line        uint64 `json:"line"`
	Error       string `json:"error"`
	Description string `json:"error_description"`
}

// StartImport records the job of an import and its task.
func (h *Handlers) StartImport(ctx context.Context, body *fastjson.Value, s *Subject) (ShownJob, error) {
	a, prefix, err := h.storage(body)
	if err != nil {
		return ShownJob{}, err
	}
	if _, err := h.dir.SeedRoles(ctx, s.Number, s.Open, false); err != nil {
		return ShownJob{}, err
	}
	id := entity.NewID()
	sealed, err := h.seal(id, &importing{Access: a, Prefix: prefix, Replace: s.Replace, Application: s.Application})
	if err != nil {
		return ShownJob{}, err
	}
	job := entity.Job{
		ID: id, Kind: entity.JobImport, State: entity.JobCreated, Target: target(&a, prefix), Organization: s.Organization, Application: s.Application,
	}
	_, err = h.do(ctx, s.Number, command.PutJob{Job: job, Task: &command.NewTask{ID: id, Kind: entity.TaskImport, Priority: entity.Idle, Body: sealed}})
	if err != nil {
		return ShownJob{}, err
	}
	job.Created, _ = id.Time()
	job.Modified = job.Created
	return show(&job), nil
}

func target(a *access, prefix string) string { return strings.TrimSuffix(a.Bucket+"/"+prefix, "/") }

// maxOrgJobs is how many exports of one organisation are kept at a time.
const maxOrgJobs = 200

// StartExport records the job of an export and its first task.
func (h *Handlers) StartExport(ctx context.Context, body *fastjson.Value, s *Subject) (ShownJob, error) {
	a, prefix, err := h.storage(body)
	if err != nil {
		return ShownJob{}, err
	}
	if len(s.Apps) == 0 || len(s.Apps) > maxExported {
		return ShownJob{}, fault.New(fault.IllegalArgument, "an export is of 1 to %d applications, and these are %d", maxExported, len(s.Apps))
	}
	if err := h.bounded(ctx, s.Organization); err != nil {
		return ShownJob{}, err
	}
	id := entity.NewID()
	task := exporting{Access: a, Prefix: prefix, Job: id, Only: s.Collection, Credentials: s.Credentials, NoData: s.NoData}
	job := entity.Job{
		ID: id, Kind: entity.JobExport, State: entity.JobCreated, Target: target(&a, prefix),
		Organization: s.Organization, Application: s.Application, Collection: s.Collection, Files: uint32(len(s.Apps)),
	}
	var files []entity.JobFile
	for name, app := range s.Apps {
		files = append(files, entity.JobFile{Number: uint32(len(files)), State: entity.JobCreated, Name: name})
		task.Apps = append(task.Apps, exported{Number: app.Number, ID: app.ID, Name: name})
	}
	sealed, err := h.seal(id, &task)
	if err != nil {
		return ShownJob{}, err
	}
	_, err = h.do(ctx, entity.Management, command.PutJob{
		Job: job, Files: files, Task: &command.NewTask{ID: id, Kind: entity.TaskExport, Priority: entity.Idle, Body: sealed},
	})
	if err != nil {
		return ShownJob{}, err
	}
	job.Created, _ = id.Time()
	job.Modified = job.Created
	return show(&job), nil
}

// bounded refuses another export of an organisation that has many.
func (h *Handlers) bounded(ctx context.Context, organization entity.ID) error {
	jobs, err := h.list(ctx, entity.Management, func(j *entity.Job) bool { return j.Organization == organization })
	if err == nil && len(jobs) >= maxOrgJobs {
		err = fault.New(fault.TooManyRequests, "the organization has %d exports already, more than are kept", len(jobs))
	}
	return err
}

func (h *Handlers) list(ctx context.Context, app entity.AppID, wanted func(*entity.Job) bool) (list []entity.Job, err error) {
	err = h.reading(ctx, app, func(v *storage.View) error {
		all, err := storage.Jobs(v, app)
		for i := range all {
			if wanted(&all[i]) {
				list = append(list, all[i])
			}
		}
		return err
	})
	return list, err
}

func (h *Handlers) reading(ctx context.Context, app entity.AppID, f func(*storage.View) error) error {
	view, err := h.cluster.View(ctx, app)
	if err != nil {
		return err
	}
	err = f(view)
	return errors.Join(err, view.Close())
}

// Imports returns the imports of an application.
func (h *Handlers) Imports(ctx context.Context, app entity.AppID) ([]ShownJob, error) {
	jobs, err := h.list(ctx, app, func(j *entity.Job) bool { return j.Kind == entity.JobImport })
	shown := []ShownJob{}
	for i := range jobs {
		shown = append(shown, show(&jobs[i]))
	}
	return shown, err
}

// Job returns a job that lies in an application: imports in their own, exports in the
// management application. Fault: EntityNotFound.
func (h *Handlers) Job(ctx context.Context, app entity.AppID, kind entity.JobKind, organization entity.ID, text string) (shown ShownJob, err error) {
	err = h.withJob(ctx, app, kind, organization, text, func(v *storage.View, job *entity.Job) error {
		shown = show(job)
		task, running, err := storage.ReadTask(v, job.ID)
		switch {
		case err != nil || job.State.Ended():
		case running && task.State == entity.TaskDead:
			shown.State, shown.Message = entity.JobFailed.String(), task.LastError
		case running && task.LastError != "":
			shown.Message = "trying again"
		case !running && kind == entity.JobImport: // the operator took it away
			shown.State, shown.Message = entity.JobFailed.String(), cancelled
		}
		return err
	})
	return shown, err
}

func (h *Handlers) withJob(
	ctx context.Context, app entity.AppID, kind entity.JobKind, organization entity.ID, text string, f func(*storage.View, *entity.Job) error,
) error {
	missing := fault.New(fault.EntityNotFound, "there is no such job")
	id, ok := entity.ParseID(text)
	if !ok || id.IsZero() {
		return missing
	}
	return h.reading(ctx, app, func(v *storage.View) error {
		job, ok, err := storage.ReadJob(v, app, id)
		if err != nil {
			return err
		}
		if !ok || job.Kind != kind || job.Organization != organization {
			return missing
		}
		return f(v, &job)
	})
}

// Files returns files of a job, at most 1000, from a number on.
func (h *Handlers) Files(ctx context.Context, app entity.AppID, kind entity.JobKind, organization entity.ID, job string, from uint32) ([]ShownFile, error) {
	shown := []ShownFile{}
	err := h.withJob(ctx, app, kind, organization, job, func(v *storage.View, j *entity.Job) error {
		files, err := storage.JobFiles(v, app, j.ID, from, command.MaxMany)
		for i := range files {
			shown = append(shown, showFile(j, &files[i]))
		}
		return err
	})
	return shown, err
}

// File returns a file of a job, and what went wrong with it.
func (h *Handlers) File(ctx context.Context, app entity.AppID, organization entity.ID, job, file string) (shown ShownFile, errs []ShownError, err error) {
	errs = []ShownError{}
	err = h.withJob(ctx, app, entity.JobImport, organization, job, func(v *storage.View, j *entity.Job) error {
		number, ok := fileNumber(j, file)
		if !ok {
			return fault.New(fault.EntityNotFound, "there is no such file")
		}
		f, ok, err := storage.ReadJobFile(v, app, j.ID, number)
		if err != nil {
			return err
		}
		if !ok {
			return fault.New(fault.EntityNotFound, "there is no such file")
		}
		shown = showFile(j, &f)
		list, err := storage.JobErrors(v, app, j.ID, number)
		for _, e := range list {
			errs = append(errs, ShownError{e.Line, string(e.Code), e.Message})
		}
		return err
	})
	return shown, errs, err
}

// fileID is the UUID by which clients know a file: that of its job, with the file's
// number, counted from 1, mixed into the last four bytes.
func fileID(j *entity.Job, number uint32) entity.ID {
	id := j.ID
	for i := range 4 {
		id[12+i] ^= byte((number + 1) >> (24 - 8*i))
	}
	return id
}

func fileNumber(j *entity.Job, text string) (number uint32, ok bool) {
	id, ok := entity.ParseID(text)
	for i := range 4 {
		number = number<<8 | uint32(id[12+i]^j.ID[12+i])
	}
	number--
	return number, ok && fileID(j, number) == id && number < j.Files
}

func show(j *entity.Job) ShownJob {
	typ := "import"
	if j.Kind == entity.JobExport {
		typ = "export"
	}
	return ShownJob{
		UUID: j.ID.String(), Type: typ, State: j.State.String(), Created: j.Created, Modified: j.Modified,
		Target: j.Target, Collection: j.Collection, Files: j.Files, Message: j.Message,
	}
}

func showFile(j *entity.Job, f *entity.JobFile) ShownFile {
	return ShownFile{
		UUID: fileID(j, f.Number).String(), Type: "file_import", State: f.State.String(), Name: f.Name, Size: f.Size, Position: f.Position,
		Lines: f.Lines, Imported: f.Imported, Existing: f.Existing, Linked: f.Linked, Failed: f.Failed, Message: f.Message,
	}
}

// Cancel ends a task of an application, and its job with it, if it has one.
func (h *Handlers) Cancel(ctx context.Context, task *entity.Task) error {
	var op command.Op = command.CancelTask{ID: task.ID}
	if task.Kind == entity.TaskImport {
		err := h.reading(ctx, task.App, func(v *storage.View) error {
			job, ok, err := storage.ReadJob(v, task.App, task.ID)
			if err == nil && ok {
				job.State, job.Message = entity.JobFailed, cancelled
				op = command.Together{First: command.PutJob{Job: job}, Then: []command.Op{op}}
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	if _, err := h.do(ctx, task.App, op); err != nil || task.Kind != entity.TaskExport {
		return err
	}
	var body exporting
	if err := h.open(task, &body); err != nil {
		return err
	}
	if task.App != entity.Management {
		return report(ctx, &body, proposer{h}, entity.JobFailed, cancelled)
	}
	for n := body.Next; n < len(body.Apps); n++ { // those that have no tasks of their own yet
		one := exporting{Job: body.Job, Apps: body.Apps[n : n+1], File: uint32(n)} // #nosec G115 -- at most maxExported
		if err := report(ctx, &one, proposer{h}, entity.JobFailed, cancelled); err != nil {
			return err
		}
	}
	return nil
}

// cancelled is why a job has failed that somebody cancelled.
const cancelled = "cancelled"

// proposer is a Host that has no task.
type proposer struct{ h *Handlers }

// View implements Host.
func (p proposer) View() (*storage.View, error) {
	return nil, fault.New(fault.NotHere, "there is no task")
}

// Propose implements Host.
func (p proposer) Propose(ctx context.Context, app entity.AppID, op command.Op) error {
	_, err := p.h.do(ctx, app, op)
	return err
}
