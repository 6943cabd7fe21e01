package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/trellisdb/trellis/node/rpc"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/archive"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// backups bounds what backups cost a node: one that it makes, and one partition
// that it lends to the backup of another node, at a time.
type backups struct {
	making, lending atomic.Bool
	spools          atomic.Uint64 // numbers the folders of spools
}

// spoolers counts who writes a replica's state into a spool. The state must
// stay until they are done.
type spoolers struct {
	mu struct {
		sync.Mutex
		closed bool
	}
	running sync.WaitGroup
}

func (s *spoolers) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.mu.closed {
		s.running.Add(1)
	}
	return !s.mu.closed
}

// close lets nobody enter any more and waits for those who are in. The group's
// context has ended: they do not take long.
func (s *spoolers) close() {
	s.mu.Lock()
	s.mu.closed = true
	s.mu.Unlock()
	s.running.Wait()
}

// Backup returns all partitions as an archive, which is made while it is read.
// Each partition is shown at a moment of its own, after the call; what was
// acknowledged before the call is in it. The system partition comes last, so
// that no number of an application occurs in a partition that the table of
// applications would give to another one. ctx has to last until the caller
// closes the archive, who does so also before its end. Faults: Conflict (this
// node makes a backup already), NoQuorum, Overloaded, DiskFull, Stopping.
func (n *Node) Backup(ctx context.Context) (io.ReadCloser, error) {
	if n.stopping.Load() {
		return nil, stopping()
	}
	if !n.backups.making.CompareAndSwap(false, true) {
		return nil, fault.New(fault.Conflict, "this node is making a backup already")
	}
	began := time.Now()
	wait, cancel := context.WithTimeout(ctx, n.cfg.ReadTimeout)
	defer cancel()
	if err := n.hosted(entity.System).await(wait, n.since(began)); err != nil { // before anything is answered
		n.backups.making.Store(false)
		return nil, err
	}
	b := &backup{node: n, ctx: ctx, began: began}
	b.archive = archive.NewWriter(archive.Header{
		Cluster: n.cluster.ID, Created: began.UnixMilli(), Partitions: n.cluster.Partitions, Version: n.cfg.Version,
	}, b.section)
	n.log.Info("backup begins", "partitions", n.cluster.Partitions+1)
	return b, nil
}

// backup is an archive being made. ctx is kept because the archive is read by
// somebody who knows of none.
type backup struct {
	node    *Node
	ctx     context.Context
	began   time.Time
	archive *archive.Writer
	bytes   int64
	err     error // that ended it; io.EOF: it is whole
	closed  bool
}

// Read implements io.Reader.
func (b *backup) Read(p []byte) (n int, err error) {
	switch {
	case b.err != nil:
		return 0, b.err
	case b.node.stopping.Load():
		err = stopping()
	case b.ctx.Err() != nil:
		err = context.Cause(b.ctx)
	default:
		n, err = b.archive.Read(p)
	}
	b.bytes += int64(n)
	b.err = err
	return n, err
}

// Close ends the backup and removes what it has on disk.
func (b *backup) Close() error {
	if b.closed {
		return nil
	}
	b.closed = true
	err := b.archive.Close()
	b.node.backups.making.Store(false)
	log := b.node.log.With("bytes", b.bytes, "took", time.Since(b.began))
	switch {
	case errors.Is(b.err, io.EOF):
		log.Info("backup made")
	case b.err == nil:
		log.Warn("backup not completed: nobody reads it any more")
	default:
		log.Warn("backup not completed", "error", b.err)
	}
	return err
}

// section opens the content of a partition: from this node if it has a replica,
// otherwise from one that has.
func (b *backup) section(p entity.Partition) (archive.Section, error) {
	errs := []error{fault.New(fault.NoQuorum, "no node that is there has an up-to-date replica")}
	if g := b.node.hosted(p); g != nil {
		s, err := b.node.spool(b.ctx, g, b.node.since(b.began))
		if err == nil || !(fault.Is(err, fault.NotHere) || fault.Is(err, fault.NoQuorum)) {
			return archive.Section(s), err
		}
		errs = append(errs, err) // it is being given up, or is behind: others may do
	}
	place, err := b.node.placement(p)
	if err != nil {
		return archive.Section{}, err
	}
	for _, r := range place.Replicas {
		if r.Node == b.node.ID() || !b.node.alive(r.Node) {
			continue
		}
		k, err := b.node.links.to(r.Node)
		if err != nil {
			return archive.Section{}, err
		}
		s, err := k.client.Spool(b.ctx, p)
		if err == nil {
			return archive.Section(s), nil
		}
		errs = append(errs, fmt.Errorf("from node %s: %w", r.Node, err))
	}
	return archive.Section{}, errors.Join(errs...)
}

// serveSpool gives another node what this one has of a partition.
func (n *Node) serveSpool(ctx context.Context, p entity.Partition) (rpc.Spooled, error) {
	g := n.hosted(p)
	if g == nil {
		return rpc.Spooled{}, notHere(p)
	}
	if !n.backups.lending.CompareAndSwap(false, true) {
		return rpc.Spooled{}, fault.New(fault.Overloaded, "another backup is reading from this node")
	}
	s, err := n.spool(ctx, g, n.clock())
	if err != nil {
		n.backups.lending.Store(false)
		return rpc.Spooled{}, err
	}
	s.ReadCloser = &lent{s.ReadCloser, n}
	return s, nil
}

// lent is a spool that another node reads.
type lent struct {
	io.ReadCloser
	node *Node
}

// Close lets the next one borrow.
func (l *lent) Close() error {
	err := l.ReadCloser.Close()
	l.node.backups.lending.Store(false)
	return err
}

// spool writes a replica's state, which shows all that was acknowledged before
// since, to the disk and opens it. To close it removes it.
func (n *Node) spool(ctx context.Context, g *group, since int64) (rpc.Spooled, error) {
	if n.diskFull.Load() {
		return rpc.Spooled{}, diskFull()
	}
	if !g.spoolers.enter() {
		return rpc.Spooled{}, notHere(g.partition)
	}
	defer g.spoolers.running.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(g.ctx, cancel)() // the replica is closed
	wait, done := context.WithTimeout(ctx, n.cfg.ReadTimeout)
	defer done()
	if err := g.await(wait, since); err != nil {
		return rpc.Spooled{}, err
	}
	dir := n.store.FS().PathJoin(n.store.SpoolDir(), fmt.Sprintf("backup-%d-%d", g.partition, n.backups.spools.Add(1)))
	spool, err := n.store.State().Spool(ctx, g.partition, dir)
	if err != nil {
		return rpc.Spooled{}, err
	}
	content, err := spool.Open()
	if err != nil {
		return rpc.Spooled{}, errors.Join(err, spool.Remove())
	}
	return rpc.Spooled{ReadCloser: &spooled{content, spool}, Size: spool.Size()}, nil
}

// spooled is a spool that goes when it is closed.
type spooled struct {
	io.ReadCloser
	spool *storage.Spool
}

// Close removes the spool.
func (s *spooled) Close() error { return errors.Join(s.ReadCloser.Close(), s.spool.Remove()) }
