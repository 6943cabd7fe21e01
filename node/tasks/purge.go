package tasks

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

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
//
// If objects is not nil, binary data of the application may lie there. It is deleted some
// time after the partition was cleared, when no upload can be under way any more, and the
// record goes then.
func PurgeApplication(objects Objects) Kind {
	return Kind{Name: entity.TaskPurgeApplication, Run: func(ctx context.Context, job *Job) (Step, error) {
		if objects != nil && job.Task.Step > 1 {
			return purgeObjects(ctx, job, objects)
		}
		step, err := purge(ctx, job)
		if err == nil && objects != nil && step.Finish {
			step = job.Keep()
			step.NotBefore = job.Now.Add(objectsOutlive)
		}
		return step, err
	}}
}

// objectsOutlive is how long after its application was purged an upload can still bring an
// object.
const objectsOutlive = time.Hour

func purgeObjects(ctx context.Context, job *Job, objects Objects) (Step, error) {
	done, err := objects.DeleteAll(ctx, job.Task.ID.String()+"/")
	if err != nil {
		return Step{}, fmt.Errorf("delete the objects of application %s: %w", job.Task.ID, err)
	}
	if !done {
		return job.Keep(), nil
	}
	return Step{Effect: command.ForgetApplication{Application: job.Task.ID}, Finish: true}, nil
}

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
