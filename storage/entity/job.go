package entity

import (
	"encoding/binary"

	"github.com/trellisdb/trellis/storage/fault"
)

// Job is an import or an export that somebody asked for, as it is shown: its task does
// the work and goes when it is done, the job stays to be looked at.
type Job struct {
	ID       ID
	Kind     JobKind
	State    JobState
	Created  int64  // ms since the epoch
	Modified int64  // ms since the epoch
	Target   string // where the files are: bucket and prefix
	// Organization is the UUID of the organisation, Application that of the application;
	// zero: of all of them. Collection is the one collection that is exported; empty: all.
	Organization, Application ID
	Collection                string
	Message                   string // why it failed
	Files                     uint32
}

// JobFile is a file of a job.
type JobFile struct {
	Number   uint32
	State    JobState
	Name     string
	Size     uint64 // bytes; 0: not known
	Position uint64 // bytes that were read or written
	Lines    uint64 // that were read or written
	Imported uint64 // entities that were added or replaced
	Existing uint64 // entities that were there already
	Linked   uint64 // connections that there are now
	Failed   uint64 // lines that could not be imported
	Message  string // why it failed
}

// JobError says why a line of a file could not be imported.
type JobError struct {
	Line    uint64
	Code    fault.Code
	Message string
}

// JobKind says what a job does.
type JobKind byte

// Kinds of jobs.
const (
	JobImport JobKind = 1
	JobExport JobKind = 2
)

// JobState says how far a job or a file is.
type JobState byte

// States of jobs and files.
const (
	JobCreated  JobState = 1
	JobStarted  JobState = 2
	JobFinished JobState = 3
	JobFailed   JobState = 4
)

// String returns the state as clients see it.
func (s JobState) String() string {
	switch s {
	case JobCreated:
		return "CREATED"
	case JobStarted:
		return "STARTED"
	case JobFinished:
		return "FINISHED"
	case JobFailed:
		return "FAILED"
	}
	return "UNKNOWN"
}

// Ended reports whether nothing more happens.
func (s JobState) Ended() bool { return s == JobFinished || s == JobFailed }

// Bounds of jobs. Apply decides by them, so they are no settings.
const (
	MaxJobs      = 1000    // of an application
	MaxAllJobs   = 100_000 // of the management application, which keeps all exports
	MaxJobFiles  = 10_000  // of a job
	MaxJobErrors = 1000    // of a file that are kept; more are only counted
	MaxJobText   = 2 << 10 // bytes of a name or message
)

// Kinds of task that jobs have.
const (
	TaskImport     = "import"
	TaskExport     = "export"
	TaskExpireJobs = "expire-jobs"
)

const jobVersion = 1

// AppendJob appends the stored form: version 1 · kind 1 · state 1 · id 16 ·
// organisation 16 · application 16 · created varint · modified varint · files uvarint · target,
// collection, message: texts.
func AppendJob(dst []byte, j *Job) []byte {
	dst = append(dst, jobVersion, byte(j.Kind), byte(j.State))
	dst = append(append(append(dst, j.ID[:]...), j.Organization[:]...), j.Application[:]...)
	dst = binary.AppendVarint(binary.AppendVarint(dst, j.Created), j.Modified)
	dst = binary.AppendUvarint(dst, uint64(j.Files))
	return appendText(appendText(appendText(dst, j.Target), j.Collection), j.Message)
}

// DecodeJob reads what AppendJob wrote, or returns fault.Corrupt.
func DecodeJob(b []byte) (Job, error) {
	bad := fault.New(fault.Corrupt, "record of a job: damaged or of another version")
	const head = 3 + 16 + 16 + 16
	if len(b) < head || b[0] != jobVersion || b[1] < byte(JobImport) || b[1] > byte(JobExport) || !validJobState(b[2]) {
		return Job{}, bad
	}
	j := Job{Kind: JobKind(b[1]), State: JobState(b[2]), ID: ID(b[3:19]), Organization: ID(b[19:35]), Application: ID(b[35:51])}
	var ok bool
	if j.Created, b, ok = varint(b[head:]); !ok {
		return Job{}, bad
	}
	if j.Modified, b, ok = varint(b); !ok {
		return Job{}, bad
	}
	files, b, ok := uvarint(b)
	if !ok || files > 1<<32-1 {
		return Job{}, bad
	}
	j.Files = uint32(files)
	for _, s := range []*string{&j.Target, &j.Collection, &j.Message} {
		if *s, b, ok = text(b); !ok || len(*s) > MaxJobText {
			return Job{}, bad
		}
	}
	if len(b) != 0 {
		return Job{}, bad
	}
	return j, nil
}

func validJobState(b byte) bool { return b >= byte(JobCreated) && b <= byte(JobFailed) }

// AppendJobFile appends the stored form: version 1 · state 1 · number, size, position,
// lines, imported, existing, linked, failed: uvarints · name, message: texts.
func AppendJobFile(dst []byte, f *JobFile) []byte {
	dst = append(dst, jobVersion, byte(f.State))
	for _, n := range []uint64{uint64(f.Number), f.Size, f.Position, f.Lines, f.Imported, f.Existing, f.Linked, f.Failed} {
		dst = binary.AppendUvarint(dst, n)
	}
	return appendText(appendText(dst, f.Name), f.Message)
}

// DecodeJobFile reads what AppendJobFile wrote, or returns fault.Corrupt.
func DecodeJobFile(b []byte) (JobFile, error) {
	bad := fault.New(fault.Corrupt, "record of a job's file: damaged or of another version")
	if len(b) < 2 || b[0] != jobVersion || !validJobState(b[1]) {
		return JobFile{}, bad
	}
	f := JobFile{State: JobState(b[1])}
	b = b[2:]
	var number uint64
	var ok bool
	for _, n := range []*uint64{&number, &f.Size, &f.Position, &f.Lines, &f.Imported, &f.Existing, &f.Linked, &f.Failed} {
		if *n, b, ok = uvarint(b); !ok {
			return JobFile{}, bad
		}
	}
	for _, s := range []*string{&f.Name, &f.Message} {
		if *s, b, ok = text(b); !ok || len(*s) > MaxJobText {
			return JobFile{}, bad
		}
	}
	if len(b) != 0 || number > 1<<32-1 {
		return JobFile{}, bad
	}
	f.Number = uint32(number)
	return f, nil
}

// AppendJobError appends the stored form: version 1 · line uvarint · code, message: texts.
func AppendJobError(dst []byte, e *JobError) []byte {
	dst = binary.AppendUvarint(append(dst, jobVersion), e.Line)
	return appendText(appendText(dst, string(e.Code)), e.Message)
}

// DecodeJobError reads what AppendJobError wrote, or returns fault.Corrupt.
func DecodeJobError(b []byte) (JobError, error) {
	bad := fault.New(fault.Corrupt, "error of a job: damaged or of another version")
	if len(b) == 0 || b[0] != jobVersion {
		return JobError{}, bad
	}
	var e JobError
	var code string
	var ok bool
	if e.Line, b, ok = uvarint(b[1:]); !ok {
		return JobError{}, bad
	}
	for _, s := range []*string{&code, &e.Message} {
		if *s, b, ok = text(b); !ok || len(*s) > MaxJobText {
			return JobError{}, bad
		}
	}
	e.Code = fault.Code(code)
	if len(b) != 0 {
		return JobError{}, bad
	}
	return e, nil
}
