package transport

import (
	"sync"

	"github.com/hashicorp/raft"
)

// pipeline is a pipeline of appends that ends with the first answer after which
// the library reads no more of them: a refusal, or one of a newer term. Without
// that the library's sender can wait for ever for room that only its reader,
// which has returned, would make: the follower gets no entry any more until the
// leader changes, and the instance never shuts down.
type pipeline struct {
	raft.AppendPipeline
	answers chan raft.AppendFuture

	closing sync.Once
	closed  chan struct{}
	running sync.WaitGroup
}

func startPipeline(inner raft.AppendPipeline) *pipeline {
	p := &pipeline{AppendPipeline: inner, answers: make(chan raft.AppendFuture), closed: make(chan struct{})}
	p.running.Go(p.pass)
	return p
}

// Consumer implements raft.AppendPipeline.
func (p *pipeline) Consumer() <-chan raft.AppendFuture { return p.answers }

// pass hands answers on, in order, up to the last that is read.
func (p *pipeline) pass() {
	for {
		var f raft.AppendFuture
		select {
		case f = <-p.AppendPipeline.Consumer():
		case <-p.closed:
			return
		}
		last := f.Error() != nil || !f.Response().Success || f.Response().Term > f.Request().Term
		select {
		case p.answers <- f:
		case <-p.closed:
			return
		}
		if last {
			_ = p.AppendPipeline.Close() // a send that waits fails now; Close closes it again
			return
		}
	}
}

// Close implements raft.AppendPipeline.
func (p *pipeline) Close() error {
	err := p.AppendPipeline.Close()
	p.closing.Do(func() { close(p.closed) })
	p.running.Wait()
	return err
}
