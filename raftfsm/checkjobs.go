package raftfsm

import (
	"encoding/binary"

	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/keys"
)

// job checks a key of a job: files belong to jobs, errors to files, and the jobs of an
// application are counted.
func (c *checker) job(k, v []byte) error {
	at, ok := keys.DecodeJob(k)
	if !ok {
		c.problem(k, "damaged key of a job")
		return nil
	}
	switch at.Parts {
	case 1:
		if at.Job.IsZero() {
			return c.jobCount(k, v)
		}
		if j, err := entity.DecodeJob(v); err != nil || j.ID != at.Job {
			c.problem(k, "damaged record of job %s", at.Job)
		}
		return nil
	case 2:
		if f, err := entity.DecodeJobFile(v); err != nil || f.Number != at.File {
			c.problem(k, "damaged record of file %d of job %s", at.File, at.Job)
		}
		_, found, err := storage.ReadJob(c.view, c.app, at.Job)
		if err == nil && !found {
			c.problem(k, "file of job %s, which does not exist", at.Job)
		}
		return err
	}
	if _, err := entity.DecodeJobError(v); err != nil {
		c.problem(k, "damaged error of file %d of job %s", at.File, at.Job)
	}
	_, found, err := storage.ReadJobFile(c.view, c.app, at.Job, at.File)
	if err == nil && !found {
		c.problem(k, "error of file %d of job %s, which does not exist", at.File, at.Job)
	}
	return err
}

func (c *checker) jobCount(k, v []byte) error {
	n, size := binary.Uvarint(v)
	list, err := storage.Jobs(c.view, c.app)
	if err == nil && (size != len(v) || n != uint64(len(list))) {
		c.problem(k, "counts %d jobs; there are %d", n, len(list))
	}
	return err
}
