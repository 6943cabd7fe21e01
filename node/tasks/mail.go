package tasks

import (
	"bytes"
	"context"
	"time"

	"github.com/trellisdb/trellis/storage/entity"
)

// Sender delivers a mail, which is the body of a task.
type Sender interface {
	// Send delivers the mail to its recipients. If some are left who may get it at
	// another try, rest is the mail for them; it is body itself if none got theirs. An
	// error without a rest is for good.
	Send(ctx context.Context, task entity.ID, body []byte) (rest []byte, err error)
}

// Mail hands mails to a sender until every recipient has theirs. After a crash a
// recipient may get one twice: the sender gives both the same Message-ID. A mail that
// cannot be delivered waits among the dead letters.
func Mail(s Sender) Kind {
	return Kind{Name: entity.TaskMail, Timeout: time.Minute, Run: func(ctx context.Context, job *Job) (Step, error) {
		rest, err := s.Send(ctx, job.Task.ID, job.Task.Body)
		switch {
		case err == nil:
			return Step{Finish: true}, nil
		case rest == nil:
			return Step{}, Permanent(err)
		case bytes.Equal(rest, job.Task.Body):
			return Step{}, err
		}
		// Some have theirs, and must not get it again.
		step := job.Keep()
		step.Body, step.NotBefore = rest, job.Now.Add(mailPause)
		return step, nil
	}}
}

// mailPause is how long those wait for another try of whom others had their mail.
const mailPause = 30 * time.Second
