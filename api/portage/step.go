package portage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// Host is what a step of a task can do beside its effect.
type Host interface {
	// View shows the task's partition. The caller closes it.
	View() (*storage.View, error)
	// Propose changes another application; it must be harmless to repeat.
	Propose(ctx context.Context, app entity.AppID, op command.Op) error
}

// Step is how a task goes on.
type Step struct {
	Effect command.Op // nil: none
	Finish bool
	Done   uint64
	Body   []byte
}

// sealedJob is the kind of secret that the body of a job's task is.
const sealedJob byte = 'j'

// stepTime is how long a step may look through a file before it leaves the rest to
// the next one: others wait for their turn.
const stepTime = 5 * time.Second

// tries is how often a step may fail before its job has failed.
const tries = 8

// seal makes the body of a task.
func (h *Handlers) seal(task entity.ID, body any) ([]byte, error) {
	plain, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("body of a job: %w", err)
	}
	return h.dir.Seal(task, sealedJob, plain)
}

// open reads the body of a task.
func (h *Handlers) open(task *entity.Task, body any) error {
	plain, err := h.dir.Open(task.ID, sealedJob, task.Body)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(plain, body); err != nil {
		return fault.Wrap(err, fault.Corrupt, "body of task %s", task.ID)
	}
	return nil
}

// hopeless reports whether trying again would not help: what was asked for is wrong, or
// it was tried often enough.
func hopeless(task *entity.Task, err error) bool {
	code := fault.CodeOf(err)
	status := wire.Status(code)
	return task.Attempts+1 >= tries || status >= 400 && status < 500 && code != fault.TooManyRequests && code != fault.Conflict
}

// why is an error as a person reads it who asked for the job.
func why(err error) string {
	var f *fault.Error
	if !errors.As(err, &f) {
		return "internal error, see the log of the node"
	}
	message := f.Message
	if len(message) > entity.MaxJobText {
		message = strings.ToValidUTF8(message[:entity.MaxJobText], "")
	}
	return message
}
