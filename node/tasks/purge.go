package tasks

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// PurgeApplication purges what a deleted application holds, once its time has come.
// Its task lies in the system partition, under the application's id.
//
// The first step changes nothing but the task: whoever wants to restore the
// application does it while no step was done, in the same partition, so that one of
// the two comes first. The second clears the application's partition, which is
// harmless to repeat, and takes its record and its route with the task.
func PurgeApplication() Kind { return Kind{Name: entity.TaskPurgeApplication, Run: purge} }

func purge(ctx context.Context, job *Job) (Step, error) {
	number, n := binary.Uvarint(job.Task.Body)
	if n <= 0 || n != len(job.Task.Body) || number > 1<<32-1 {
		return Step{}, Permanent(fmt.Errorf("body %x names no application", job.Task.Body))
	}
	if job.Task.Step == 0 {
		return job.Keep(), nil
	}
	err := job.Propose(ctx, entity.AppID(number), command.PurgeApplication{})
	if err != nil && !fault.Is(err, fault.NotFound) { // then it has no route any more
		return Step{}, fmt.Errorf("purge application %d: %w", number, err)
	}
	return Step{Effect: command.ForgetApplication{Application: job.Task.ID}, Finish: true}, nil
}
