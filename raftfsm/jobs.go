package raftfsm

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// noteJob adds to what a job has counted of a file: what the proposer refused, what
// the state machine refused, at the lines that lines tells, and what add says.
func (m *Machine) noteJob(
	cmd *command.Command, note *command.JobNote, res result, existing uint64, lines func(int) uint64, add func(*entity.JobFile),
) error {
	if note.Job.IsZero() {
		return nil
	}
	f, ok, err := storage.ReadJobFile(m.batch, cmd.App, note.Job, note.File)
	if err != nil || !ok {
		return err
	}
	errs := note.Refused
	for _, e := range res.Errors {
		errs = append(errs[:len(errs):len(errs)], entity.JobError{Line: lines(e.Index), Code: e.Code, Message: e.Message})
	}
	for i := range errs {
		if f.Failed < entity.MaxJobErrors {
			e := errs[i]
			e.Message = strings.ToValidUTF8(e.Message[:min(len(e.Message), entity.MaxJobText)], "")
			m.key = keys.AppendJobError(m.key[:0], m.cfg.Partition, cmd.App, note.Job, note.File, uint32(f.Failed))
			m.value = entity.AppendJobError(m.value[:0], &e)
			m.batch.Set(m.key, m.value)
		}
		f.Failed++
	}
	f.Position, f.Lines = note.Position, note.Lines
	f.Existing += existing
	if add != nil {
		add(&f)
	}
	m.putJobFile(cmd.App, note.Job, &f)
	return nil
}

func (m *Machine) putJobFile(app entity.AppID, job entity.ID, f *entity.JobFile) {
	m.key = keys.AppendJobFile(m.key[:0], m.cfg.Partition, app, job, f.Number)
	m.value = entity.AppendJobFile(m.value[:0], f)
	m.batch.Set(m.key, m.value)
}

func (m *Machine) putJob(cmd *command.Command, op *command.PutJob) (result, error) {
	if op.Job.ID.IsZero() || len(op.Files) > command.MaxMany || op.Job.Files > entity.MaxJobFiles {
		return result{}, refuse(fault.IllegalArgument, "a job needs an id, and has at most %d files", entity.MaxJobFiles)
	}
	if err := m.alive(cmd.App); err != nil {
		return result{}, err
	}
	old, known, err := storage.ReadJob(m.batch, cmd.App, op.Job.ID)
	if err != nil || !known && op.Settle {
		return result{}, err
	}
	jobs := uint64(0)
	if !known {
		if jobs, err = m.countJobs(cmd.App); err != nil {
			return result{}, err
		}
		if jobs >= entity.MaxAllJobs || jobs >= entity.MaxJobs && cmd.App != entity.Management {
			return result{}, refuse(fault.TooManyRequests, "there are %d imports and exports already, more than are kept", jobs)
		}
	}
	if op.Task != nil {
		if _, err := m.putTask(cmd, &command.PutTask{Task: *op.Task}); err != nil {
			return result{}, err
		}
	}
	if !known {
		m.setJobs(cmd.App, jobs+1)
	}
	if err := m.putJobFiles(cmd.App, op); err != nil {
		return result{}, err
	}
	job := op.Job
	job.Created, job.Modified = cmd.Time, cmd.Time
	if known {
		job.Created, job.Modified = old.Created, max(cmd.Time, old.Modified)
	}
	if op.Settle {
		modified := job.Modified
		if job, err = m.settled(cmd.App, old); err != nil {
			return result{}, err
		}
		job.Modified = modified
	}
	m.key = keys.AppendJob(m.key[:0], m.cfg.Partition, cmd.App, job.ID)
	m.value = entity.AppendJob(m.value[:0], &job)
	m.batch.Set(m.key, m.value)
	return result{}, nil
}

func (m *Machine) putJobFiles(app entity.AppID, op *command.PutJob) error {
	for i := range op.Files {
		f := op.Files[i]
		was, known, err := storage.ReadJobFile(m.batch, app, op.Job.ID, f.Number)
		if err != nil {
			return err
		}
		if known && !op.Recount {
			f.Position, f.Lines, f.Imported, f.Existing, f.Linked, f.Failed = was.Position, was.Lines, was.Imported, was.Existing, was.Linked, was.Failed
		}
		m.putJobFile(app, op.Job.ID, &f)
	}
	return nil
}

// settled returns a job with the state that its files come to.
func (m *Machine) settled(app entity.AppID, job entity.Job) (entity.Job, error) {
	failed := 0
	for n := range job.Files {
		f, ok, err := storage.ReadJobFile(m.batch, app, job.ID, n)
		if err != nil {
			return job, err
		}
		if !ok || !f.State.Ended() {
			if job.State == entity.JobCreated {
				job.State = entity.JobStarted
			}
			return job, nil
		}
		if f.State == entity.JobFailed {
			failed++
		}
	}
	if job.State = entity.JobFinished; failed > 0 {
		job.State, job.Message = entity.JobFailed, fmt.Sprintf("%d of %d files failed", failed, job.Files)
	}
	return job, nil
}

// countJobs returns how many jobs an application has. The number lies under the key of
// the job without an id.
func (m *Machine) countJobs(app entity.AppID) (uint64, error) {
	m.key = keys.AppendJob(m.key[:0], m.cfg.Partition, app, entity.ID{})
	raw, ok, err := m.get(m.key)
	if err != nil || !ok {
		return 0, err
	}
	n, size := binary.Uvarint(raw)
	if size != len(raw) {
		return 0, fault.New(fault.Corrupt, "number of jobs of application %d", app)
	}
	return n, nil
}

func (m *Machine) setJobs(app entity.AppID, n uint64) {
	m.key = keys.AppendJob(m.key[:0], m.cfg.Partition, app, entity.ID{})
	m.value = binary.AppendUvarint(m.value[:0], n)
	m.batch.Set(m.key, m.value)
}

func (m *Machine) dropJobs(cmd *command.Command, op *command.DropJobs) (result, error) {
	if err := tooMany(op.Jobs); err != nil {
		return result{}, err
	}
	for _, id := range op.Jobs {
		job, ok, err := storage.ReadJob(m.batch, cmd.App, id)
		if err != nil {
			return result{}, err
		}
		if !ok || id.IsZero() || !job.State.Ended() {
			continue
		}
		jobs, err := m.countJobs(cmd.App)
		if err != nil {
			return result{}, err
		}
		m.batch.DeleteRange(keys.JobRange(m.cfg.Partition, cmd.App, id))
		m.setJobs(cmd.App, max(jobs, 1)-1)
	}
	return result{}, nil
}
