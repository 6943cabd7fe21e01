package tasks

import (
	"context"
	"errors"
	"time"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// How jobs are looked through.
const (
	jobsEvery = time.Hour
	jobsKeys  = 20_000 // keys looked at in a step
	jobsDrop  = 50     // jobs of one application that a step removes
)

// JobsKept is how long an import or export that has ended can be looked at.
const JobsKept = 30 * 24 * time.Hour

// ExpireJobs removes imports and exports that ended JobsKept ago, from every partition.
func ExpireJobs() Kind {
	return Kind{Name: entity.TaskExpireJobs, Run: expireJobs, EveryPartition: true, Delay: 10 * time.Minute}
}

// expireJobs looks for jobs that have ended, from where the last step stopped. Jobs of one
// application go with one step; those of the next are for the next step.
func expireJobs(ctx context.Context, job *Job) (Step, error) {
	view, err := job.View()
	if err != nil {
		return Step{}, err
	}
	before := job.Now.Add(-JobsKept).UnixMilli()
	var app entity.AppID
	var found []entity.ID
	rest, err := visitKeys(ctx, view, job.Task.Body, jobsKeys, keys.JobsRange, func(k, value []byte) (bool, error) {
		at, ok := keys.DecodeJob(k)
		of, _ := keys.AppOf(k)
		switch {
		case !ok:
			return false, fault.New(fault.Corrupt, "partition %d: key of a job %x", view.Partition(), k)
		case at.Parts != 1 || at.Job.IsZero():
			return true, nil
		}
		j, err := entity.DecodeJob(value)
		if err != nil {
			return false, err
		}
		if !j.State.Ended() || j.Modified >= before {
			return true, nil
		}
		app, found = of, append(found, at.Job)
		return false, nil
	})
	if err == nil && len(found) > 0 {
		found, err = more(view, app, before, found)
	}
	if err = errors.Join(err, view.Close()); err != nil {
		return Step{}, err
	}
	if len(found) > 0 {
		if err := job.Propose(ctx, app, command.DropJobs{Jobs: found}); err != nil && !fault.Is(err, fault.NotFound) {
			return Step{}, err
		}
	}
	step := job.Keep()
	step.Body = rest
	step.Done += uint64(len(found))
	if len(rest) == 0 {
		step.NotBefore = job.Now.Add(jobsEvery)
	}
	return step, nil
}

// more returns other jobs of an application that are to go, after the first.
func more(view *storage.View, app entity.AppID, before int64, found []entity.ID) ([]entity.ID, error) {
	all, err := storage.Jobs(view, app)
	for i := range all {
		if j := &all[i]; len(found) < jobsDrop && j.ID != found[0] && j.State.Ended() && j.Modified < before {
			found = append(found, j.ID)
		}
	}
	return found, err
}
