package node

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage/fault"
)

// enqueueTimeout is how long Raft's main loop may take to accept an entry
// before the commands in it are refused: it is stuck in a write then.
const enqueueTimeout = 5 * time.Second

// maxEntriesInFlight is how many entries of a partition may be on their way
// through log and state machine. While one is, commands gather for the next:
// syncs of one log do not overlap, so fewer and larger entries carry more.
const maxEntriesInFlight = 1

// proposal is one command on its way, owned by the queue until done is sent to.
type proposal struct {
	data []byte // the encoded command
	done chan answer
}

type answer struct {
	outcome command.Outcome
	err     error
}

// applier is what the queue needs of Raft.
type applier interface {
	Apply(cmd []byte, timeout time.Duration) raft.ApplyFuture
}

// queue packs commands into log entries. Its goroutines end with close.
type queue struct {
	raft        applier
	waiting     chan *proposal
	bytes       atomic.Int64 // of proposals not answered
	maxBytes    int64
	entryCount  int
	entryBytes  int
	inFlight    chan struct{}
	stop        chan struct{}
	stopped     chan struct{}
	unanswered  atomic.Int64
	refused     atomic.Uint64
	accepted    atomic.Uint64
	entriesSent atomic.Uint64
}

func startQueue(r applier, cfg *Config) *queue {
	q := &queue{
		raft:       r,
		waiting:    make(chan *proposal, cfg.QueueCommands),
		maxBytes:   int64(cfg.QueueBytes),
		entryCount: cfg.EntryCommands,
		entryBytes: cfg.EntryBytes,
		inFlight:   make(chan struct{}, maxEntriesInFlight),
		stop:       make(chan struct{}),
		stopped:    make(chan struct{}),
	}
	go q.run()
	return q
}

// propose waits for the command's outcome. After the deadline the outcome is
// unknown: the command may still be applied.
func (q *queue) propose(ctx context.Context, data []byte) (command.Outcome, error) {
	p, err := q.enqueue(data)
	if err != nil {
		return command.Outcome{}, err
	}
	return p.wait(ctx)
}

// enqueue takes a command without waiting for anything.
func (q *queue) enqueue(data []byte) (*proposal, error) {
	size := int64(len(data))
	if n := q.bytes.Add(size); n > q.maxBytes && n > size {
		q.bytes.Add(-size)
		q.refused.Add(1)
		return nil, fault.New(fault.Overloaded, "too many writes are waiting, try again")
	}
	p := &proposal{data: data, done: make(chan answer, 1)}
	q.unanswered.Add(1)
	select {
	case q.waiting <- p:
		q.accepted.Add(1)
		return p, nil
	default:
		q.release(p)
		q.refused.Add(1)
		return nil, fault.New(fault.Overloaded, "too many writes are waiting, try again")
	}
}

// wait returns the command's outcome.
func (p *proposal) wait(ctx context.Context) (command.Outcome, error) {
	select {
	case a := <-p.done:
		return a.outcome, a.err
	case <-ctx.Done():
		return command.Outcome{}, fault.Wrap(context.Cause(ctx), fault.Timeout, "the write was not confirmed in time, it may still happen")
	}
}

func (q *queue) release(p *proposal) {
	q.bytes.Add(-int64(len(p.data)))
	q.unanswered.Add(-1)
}

func (q *queue) answer(p *proposal, a answer) {
	q.release(p)
	p.done <- a
}

// run forms entries until stop: it takes the first proposal, waits until an
// entry may be sent, and only then takes what else has come meanwhile.
func (q *queue) run() {
	defer close(q.stopped)
	var held *proposal // did not fit into the entry before
	for {
		first := held
		held = nil
		if first == nil {
			select {
			case first = <-q.waiting:
			case <-q.stop:
				q.refuseAll()
				return
			}
		}
		select {
		case q.inFlight <- struct{}{}:
		case <-q.stop:
			q.answer(first, answer{err: stopping()})
			q.refuseAll()
			return
		}
		batch, size := []*proposal{first}, len(first.data)
	fill:
		for len(batch) < q.entryCount {
			select {
			case p := <-q.waiting:
				if size+len(p.data) > q.entryBytes {
					held = p
					break fill
				}
				batch, size = append(batch, p), size+len(p.data)
			default:
				break fill
			}
		}
		q.send(batch, size)
	}
}

func (q *queue) send(batch []*proposal, size int) {
	encoded := make([][]byte, len(batch))
	for i, p := range batch {
		encoded[i] = p.data
	}
	entry := command.AppendEncoded(make([]byte, 0, size+8*len(batch)+16), encoded)
	future := q.raft.Apply(entry, enqueueTimeout)
	q.entriesSent.Add(1)
	go func() {
		defer func() { <-q.inFlight }()
		err := future.Error()
		if err != nil {
			err = proposeFault(err)
			for _, p := range batch {
				q.answer(p, answer{err: err})
			}
			return
		}
		outcomes, ok := future.Response().([]command.Outcome)
		if !ok || len(outcomes) != len(batch) {
			err := fault.New(fault.Uncaught, "state machine gave no outcome")
			for _, p := range batch {
				q.answer(p, answer{err: err})
			}
			return
		}
		for i, p := range batch {
			q.answer(p, answer{outcome: outcomes[i]})
		}
	}()
}

func (q *queue) refuseAll() {
	for {
		select {
		case p := <-q.waiting:
			q.answer(p, answer{err: stopping()})
		default:
			return
		}
	}
}

func stopping() error { return fault.New(fault.Stopping, "the node is shutting down") }

// drain waits until every accepted proposal is answered or ctx ends.
func (q *queue) drain(ctx context.Context) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for q.unanswered.Load() > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// close stops forming entries; what still waits is refused.
func (q *queue) close() {
	close(q.stop)
	<-q.stopped
}

// proposeFault says what Raft's error means for the write: refused (nothing
// was appended) or unknown.
func proposeFault(err error) error {
	switch {
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return fault.Wrap(err, fault.NoQuorum, "this node does not lead the partition, try again")
	case errors.Is(err, raft.ErrEnqueueTimeout):
		return fault.Wrap(err, fault.Overloaded, "writes are not getting through, try again")
	default:
		return fault.Wrap(err, fault.NoQuorum, "the write was not confirmed, it may still happen")
	}
}
