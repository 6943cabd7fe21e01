package storage

import (
	"errors"
	"fmt"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// ReadJob returns a job of an application.
func ReadJob(r Reader, app entity.AppID, id entity.ID) (entity.Job, bool, error) {
	raw, ok, err := r.Get(nil, keys.AppendJob(nil, r.Partition(), app, id))
	if err != nil || !ok {
		return entity.Job{}, false, err
	}
	j, err := entity.DecodeJob(raw)
	if err == nil && j.ID != id {
		err = fault.New(fault.Corrupt, "the record says it is job %s", j.ID)
	}
	if err != nil {
		return entity.Job{}, false, fmt.Errorf("partition %d: job %s: %w", r.Partition(), id, err)
	}
	return j, true, nil
}

// ReadJobFile returns a file of a job.
func ReadJobFile(r Reader, app entity.AppID, job entity.ID, file uint32) (entity.JobFile, bool, error) {
	raw, ok, err := r.Get(nil, keys.AppendJobFile(nil, r.Partition(), app, job, file))
	if err != nil || !ok {
		return entity.JobFile{}, false, err
	}
	f, err := entity.DecodeJobFile(raw)
	if err == nil && f.Number != file {
		err = fault.New(fault.Corrupt, "the record says it is file %d", f.Number)
	}
	if err != nil {
		return entity.JobFile{}, false, fmt.Errorf("partition %d: file %d of job %s: %w", r.Partition(), file, job, err)
	}
	return f, true, nil
}

// Jobs returns the jobs of an application, in no order that means anything.
func Jobs(v *View, app entity.AppID) (list []entity.Job, err error) {
	err = eachJobKey(v, app, entity.ID{}, func(it *Iterator, k keys.JobKey) (bool, error) {
		if k.Parts == 1 && !k.Job.IsZero() { // which has their number
			j, err := entity.DecodeJob(it.Value())
			if err != nil {
				return false, err
			}
			list = append(list, j)
		}
		// Files and errors are passed over.
		return it.SeekGE(keys.Successor(keys.AppendJob(nil, v.Partition(), app, k.Job))), nil
	})
	return list, err
}

// JobFiles returns files of a job from a number on, at most so many.
func JobFiles(v *View, app entity.AppID, job entity.ID, from uint32, most int) (list []entity.JobFile, err error) {
	for n := from; len(list) < most; n++ {
		f, ok, err := ReadJobFile(v, app, job, n)
		if err != nil || !ok {
			return list, err
		}
		list = append(list, f)
	}
	return list, nil
}

// JobErrors returns what is kept of what went wrong with a file of a job.
func JobErrors(v *View, app entity.AppID, job entity.ID, file uint32) (list []entity.JobError, err error) {
	err = eachJobKey(v, app, job, func(it *Iterator, k keys.JobKey) (bool, error) {
		switch {
		case k.File < file || k.Parts < 3:
			next := keys.AppendJobError(nil, v.Partition(), app, job, file, 0)
			return it.SeekGE(next), nil
		case k.File > file:
			return false, nil
		}
		e, err := entity.DecodeJobError(it.Value())
		if err != nil {
			return false, err
		}
		list = append(list, e)
		return it.Next(), nil
	})
	return list, err
}

// eachJobKey visits keys of jobs, or of one job; visit moves the iterator on.
func eachJobKey(v *View, app entity.AppID, job entity.ID, visit func(*Iterator, keys.JobKey) (more bool, err error)) (err error) {
	lower, upper := keys.JobsRange(v.Partition(), app)
	if !job.IsZero() {
		lower, upper = keys.JobRange(v.Partition(), app, job)
	}
	it, err := v.Scan(lower, upper)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; {
		k, valid := keys.DecodeJob(it.Key())
		if !valid {
			return fault.New(fault.Corrupt, "partition %d: key of a job %x", v.Partition(), it.Key())
		}
		if ok, err = visit(it, k); err != nil {
			return fmt.Errorf("partition %d: job %s: %w", v.Partition(), k.Job, err)
		}
	}
	return it.Err()
}
