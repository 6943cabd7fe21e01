package keys

import (
	"encoding/binary"

	"github.com/trellisdb/trellis/storage/entity"
)

// KindJob is the kind of the keys of jobs, of their files, and of what went wrong.
const KindJob = 'J' // job · [file · [number]] → job, file or error record

// AppendJob appends the key of a job's record.
//
//	partition 4 · application 4 · 'J' · job 16
func AppendJob(dst []byte, p entity.Partition, app entity.AppID, job entity.ID) []byte {
	return append(appendApp(dst, p, app, KindJob), job[:]...)
}

// AppendJobFile appends the key of the record of a file of a job.
//
//	partition 4 · application 4 · 'J' · job 16 · file 4
func AppendJobFile(dst []byte, p entity.Partition, app entity.AppID, job entity.ID, file uint32) []byte {
	return binary.BigEndian.AppendUint32(AppendJob(dst, p, app, job), file)
}

// AppendJobError appends the key of an error of a file, which are numbered from 0 on.
//
//	partition 4 · application 4 · 'J' · job 16 · file 4 · number 4
func AppendJobError(dst []byte, p entity.Partition, app entity.AppID, job entity.ID, file, number uint32) []byte {
	return binary.BigEndian.AppendUint32(AppendJobFile(dst, p, app, job, file), number)
}

// JobsRange bounds what is kept of all jobs of an application.
func JobsRange(p entity.Partition, app entity.AppID) (lower, upper []byte) {
	return rangeOf(appendApp(nil, p, app, KindJob))
}

// JobRange bounds what is kept of a job.
func JobRange(p entity.Partition, app entity.AppID, job entity.ID) (lower, upper []byte) {
	return rangeOf(AppendJob(nil, p, app, job))
}

// JobFileRange bounds what is kept of a file of a job.
func JobFileRange(p entity.Partition, app entity.AppID, job entity.ID, file uint32) (lower, upper []byte) {
	return rangeOf(AppendJobFile(nil, p, app, job, file))
}

// JobKey is a decoded key of a job. Parts says how much of it there is.
type JobKey struct {
	Job          entity.ID
	File, Number uint32
	Parts        int // 1: a job, 2: a file, 3: an error
}

// DecodeJob is the inverse of AppendJob, AppendJobFile and AppendJobError.
func DecodeJob(k []byte) (JobKey, bool) {
	if len(k) < 9+16 || len(k) > 9+16+8 || (len(k)-9)%4 != 0 || k[8] != KindJob {
		return JobKey{}, false
	}
	j := JobKey{Job: entity.ID(k[9:25]), Parts: 1}
	if len(k) >= 29 {
		j.File, j.Parts = binary.BigEndian.Uint32(k[25:]), 2
	}
	if len(k) == 33 {
		j.Number, j.Parts = binary.BigEndian.Uint32(k[29:]), 3
	}
	return j, true
}
