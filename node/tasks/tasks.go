package tasks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
)

// Host is what the runner needs of a node.
type Host interface {
	// Led returns the partitions that this node leads, as far as it knows.
	Led() []entity.Partition
	// View shows a partition as it has been applied here. The caller closes it.
	View(p entity.Partition) (*storage.View, error)
	// ProposeIn puts a command through Raft in a partition; in all but the
	// partition it is Propose.
	ProposeIn(ctx context.Context, p entity.Partition, cmd command.Command) (command.Outcome, error)
	// Propose puts a command through Raft in the partition of an application.
	Propose(ctx context.Context, app entity.AppID, cmd command.Command) (command.Outcome, error)
}

// Kind is a kind of task and who runs it.
type Kind struct {
	Name string // entity.ValidTaskKind
	Run  Handler
	// Timeout bounds a step, 0: Config.StepTimeout.
	Timeout time.Duration
	// MaxAttempts is how often a step may fail before its task goes to the dead
	// letters, 0: Config.MaxAttempts.
	MaxAttempts int
	// EveryPartition: each partition has one such task, which never ends and is
	// never dead. Its first step is due Delay after it was recorded.
	EveryPartition bool
	Delay          time.Duration
}

// Handler does what a step of a task needs, and says how the task goes on. It ends
// soon after ctx does.
type Handler func(ctx context.Context, job *Job) (Step, error)

// Job is a task whose next step is due.
type Job struct {
	Task      entity.Task
	Partition entity.Partition
	Now       time.Time
	host      Host
}

// View shows the task's partition as it stands now, the task's last step included.
// The caller closes it soon: an open view holds up compaction.
func (j *Job) View() (*storage.View, error) { return j.host.View(j.Partition) }

// Propose changes an application in whatever partition it lives. It is not part of
// the step: after a crash it is repeated, and must then be harmless. The error is
// also that of the outcome.
func (j *Job) Propose(ctx context.Context, app entity.AppID, op command.Op) error {
	out, err := j.host.Propose(ctx, app, command.Command{Op: op})
	if err == nil && out.Fault != nil {
		err = out.Fault
	}
	return err
}

// Keep is a step that leaves progress and body as they are.
func (j *Job) Keep() Step {
	return Step{Done: j.Task.Done, Total: j.Task.Total, Body: j.Task.Body}
}

// Step is what a handler decided: the effect on the task's partition, and what the
// task is from now on.
type Step struct {
	Effect    command.Op // run for the task's application in the same batch; nil: none
	Finish    bool       // the task is done
	NotBefore time.Time  // when the next step is due; zero: at once
	Done      uint64     // progress
	Total     uint64     // 0: not known
	Body      []byte     // where to go on, up to entity.MaxTaskBody bytes
}

// Permanent marks an error that trying again cannot cure: the task goes to the dead
// letters at once.
func Permanent(err error) error { return permanent{err} }

type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

func isPermanent(err error) bool {
	var p permanent
	return errors.As(err, &p)
}

// Config is how the runner works. Begin with DefaultConfig.
type Config struct {
	Kinds       []Kind
	Workers     int           // steps at a time on this node
	PerApp      int           // of them, of one application in one partition
	StepTimeout time.Duration // of a step whose kind has none of its own
	MaxAttempts int           // of a step whose kind has no number of its own
	Backoff     time.Duration // pause after the first failure; it doubles with each
	MaxBackoff  time.Duration
	Poll        time.Duration // how often the runner looks even if nobody wakes it
	Log         *slog.Logger
}

// DefaultConfig returns a working configuration. The caller sets Log.
func DefaultConfig() Config {
	return Config{
		Kinds:       []Kind{PurgeApplication(), ExpireTokens(), DropEdges(), Reindex(), ClearCollection(), FanOut(), Follow()},
		Workers:     8,
		PerApp:      4,
		StepTimeout: 30 * time.Second,
		MaxAttempts: 12, // about half an hour
		Backoff:     time.Second,
		MaxBackoff:  5 * time.Minute,
		Poll:        5 * time.Second,
	}
}

func (c *Config) check() error {
	switch {
	case c.Workers < 1 || c.PerApp < 1 || c.MaxAttempts < 1:
		return fmt.Errorf("tasks: workers, steps of an application and attempts must be positive")
	case c.StepTimeout <= 0 || c.Backoff <= 0 || c.MaxBackoff < c.Backoff || c.Poll <= 0:
		return fmt.Errorf("tasks: time-outs and pauses must be positive")
	case c.Log == nil:
		return fmt.Errorf("tasks: no logger")
	}
	seen := map[string]bool{}
	for i := range c.Kinds {
		k := &c.Kinds[i]
		if !entity.ValidTaskKind(k.Name) || k.Run == nil || seen[k.Name] {
			return fmt.Errorf("tasks: kind %q is not valid, has no handler or is there twice", k.Name)
		}
		seen[k.Name] = true
	}
	return nil
}
