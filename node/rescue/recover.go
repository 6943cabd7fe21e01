package rescue

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/trellisdb/trellis/raftfsm"
	"github.com/trellisdb/trellis/raftfsm/raftlog"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// Held is a replica that a node has.
type Held struct {
	Partition entity.Partition
	Replica   uint32
	Applied   uint64   // log index its state has come to on the disk
	Last      uint64   // log index it comes to with all of its log
	Servers   []string // of its group, as far as it knows
	Leaving   bool     // the table does not give it to this node any more: it may be old
}

// Recovery is what a recovery would do to a data directory, and then does.
type Recovery struct {
	Node    entity.NodeID
	Cluster entity.ID          // of which it was a node
	Resumes bool               // an earlier one was begun and not finished
	Held    []Held             // in order of the partitions
	Missing []entity.Partition // of which this node has nothing
	Others  []entity.Member    // who will not belong to the cluster any more

	cfg        Config
	store      *storage.Store
	members    []entity.Member
	placements map[entity.Partition]entity.Placement
}

// PlanRecovery looks at the data directory of a node and changes nothing of what
// is kept in it. The caller ends it with Close; until then no node can run on the
// directory. Faults: Conflict, if there is nothing to recover from.
func PlanRecovery(ctx context.Context, cfg Config) (_ *Recovery, err error) {
	sc := cfg.Storage
	sc.Existing, sc.Resume = true, workRecover
	store, err := storage.Open(sc)
	if err != nil {
		return nil, err
	}
	identity := store.Identity()
	r := &Recovery{Node: identity.NodeID, Cluster: identity.Cluster, cfg: cfg, store: store}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close())
		}
	}()
	if _, r.Resumes, err = store.Unfinished(); err != nil {
		return nil, err
	}
	if err := r.findHeld(); err != nil {
		return nil, err
	}
	if err := r.readTables(ctx); err != nil {
		return nil, err
	}
	if !r.Resumes && len(r.Missing) == 0 && !slices.ContainsFunc(r.Held, func(h Held) bool { return !r.alone(&h) }) {
		return nil, fault.New(fault.Conflict, "node %s is a cluster of one already: there is nothing to recover from", r.Node)
	}
	return r, nil
}

// Close gives the directory back.
func (r *Recovery) Close() error { return r.store.Close() }

func (r *Recovery) alone(h *Held) bool {
	return len(h.Servers) == 1 && h.Servers[0] == r.replica(h.Replica).ServerID()
}

func (r *Recovery) replica(number uint32) entity.Replica {
	return entity.Replica{Node: r.Node, Number: number, Voter: true}
}

// findHeld finds the replicas of which there is more than their number.
func (r *Recovery) findHeld() error {
	numbers, err := r.store.Replicas()
	if err != nil {
		return err
	}
	for _, p := range slices.Sorted(maps.Keys(numbers)) {
		h := Held{Partition: p, Replica: numbers[p]}
		if h.Applied, err = r.store.State().Applied(p); err != nil {
			return err
		}
		if h.Last, h.Servers, err = raftlog.End(r.store, p); err != nil {
			return err
		}
		if h.Last = max(h.Last, h.Applied); h.Last > 0 {
			r.Held = append(r.Held, h)
		}
	}
	if len(r.Held) == 0 || r.Held[0].Partition != entity.System {
		return fault.New(fault.Conflict, "node %s has nothing of the system partition: recover another node", r.Node)
	}
	return nil
}

// readTables reads members and placements as they are with all of the log, which
// is applied to a copy: the cluster may come back after all, without the entries
// at its end.
func (r *Recovery) readTables(ctx context.Context) (err error) {
	fs := r.store.FS()
	sc := storage.DefaultConfig(fs.PathJoin(r.store.SpoolDir(), "preview")) // goes at the next start in any case
	sc.FS, sc.Log, sc.Halt = r.cfg.Storage.FS, r.cfg.Storage.Log, r.cfg.Storage.Halt
	sc.CacheBytes, sc.RowCacheBytes = 8<<20, 0
	if err := fs.RemoveAll(sc.Dir); err != nil {
		return err
	}
	preview, err := storage.Open(sc)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, preview.Close(), fs.RemoveAll(sc.Dir)) }()
	if err := copyPartition(ctx, r.store, preview, entity.System); err != nil {
		return err
	}
	if err := raftfsm.Replay(r.store, entity.System, preview.State(), r.Held[0].Last); err != nil {
		return err
	}
	view := preview.State().View(entity.System)
	defer func() { err = errors.Join(err, view.Close()) }()
	return r.readView(view)
}

func (r *Recovery) readView(view *storage.View) error {
	cluster, found, err := storage.ReadCluster(view)
	if err != nil {
		return err
	}
	if !found {
		return fault.New(fault.Conflict, "node %s does not know its cluster: recover another node", r.Node)
	}
	if r.members, err = storage.Members(view); err != nil {
		return err
	}
	table, err := storage.Placements(view)
	if err != nil {
		return err
	}
	r.placements = make(map[entity.Partition]entity.Placement)
	for _, place := range table {
		r.placements[place.Partition] = place
	}
	has := map[entity.Partition]bool{}
	for i := range r.Held {
		h := &r.Held[i]
		has[h.Partition] = true
		place := r.placements[h.Partition]
		given, ok := place.Replica(r.Node)
		h.Leaving = !ok || given.Number != h.Replica
	}
	for p := range entity.Partition(cluster.Partitions + 1) {
		if !has[p] {
			r.Missing = append(r.Missing, p)
		}
	}
	for _, m := range r.members {
		if m.ID != r.Node && m.State != entity.Removed {
			r.Others = append(r.Others, m)
		}
	}
	return nil
}

// copyPartition copies the state of a partition, without its log.
func copyPartition(ctx context.Context, from, to *storage.Store, p entity.Partition) (err error) {
	spool, err := from.State().Spool(ctx, p, from.FS().PathJoin(from.SpoolDir(), "preview-spool"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, spool.Remove()) }()
	stream, err := spool.Open()
	if err != nil {
		return err
	}
	return errors.Join(to.State().Restore(ctx, p, stream), stream.Close())
}

// Run makes the node a cluster of one with what it has. Partitions of which it
// has nothing begin anew and empty if recreate is set; otherwise they are a
// refusal. After a crash it is to be planned and run again.
//
// All entries of the logs count as committed. Which of the last ones were, nobody
// can tell any more; to keep one that was not makes a write happen whose client
// was told that it might, to drop one that was loses what was acknowledged.
func (r *Recovery) Run(ctx context.Context, recreate bool) error {
	if len(r.Missing) > 0 && !recreate {
		return fault.New(fault.Conflict, "node %s has nothing of the partitions %v", r.Node, r.Missing)
	}
	work, found, err := r.store.Unfinished()
	if err != nil {
		return err
	}
	if !found {
		work = storage.Work{Name: workRecover, Cluster: entity.NewID()}
		if err := r.store.Begin(work); err != nil {
			return err
		}
	}
	home, err := r.home(work.Cluster)
	if err != nil {
		return err
	}
	slices.Reverse(r.Held) // the system partition last: it says of the others that they are done
	for i := range r.Held {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := r.take(&r.Held[i], home); err != nil {
			return err
		}
	}
	return r.store.Finish()
}

// take makes one replica the whole of its group.
func (r *Recovery) take(h *Held, home *raftfsm.Home) error {
	if err := raftfsm.Replay(r.store, h.Partition, r.store.State(), h.Last); err != nil {
		return err
	}
	if h.Partition == entity.System {
		if err := raftfsm.Rehome(r.store.State(), home); err != nil {
			return err
		}
	}
	if err := r.store.State().Flush(); err != nil { // also what came at an index that was on the disk before
		return within(h.Partition, err)
	}
	return raftlog.StandAlone(r.store, h.Partition, r.replica(h.Replica).ServerID())
}

// home is what the cluster is to know of itself.
func (r *Recovery) home(cluster entity.ID) (*raftfsm.Home, error) {
	home := &raftfsm.Home{Cluster: cluster}
	self := member(&r.cfg, r.store)
	for _, m := range r.members {
		if m.ID == r.Node {
			self = m
			self.State = entity.Active
			continue
		}
		m.State = entity.Removed // for good, should one get here by whatever way
		home.Members = append(home.Members, m)
	}
	home.Members = append(home.Members, self)
	for _, h := range r.Held {
		home.Placements = append(home.Placements, r.place(h.Partition, h.Replica, true))
	}
	for _, p := range r.Missing {
		number, err := r.store.Replica(p) // it may have been promised one that got nothing yet
		if err != nil {
			return nil, err
		}
		if number == 0 {
			number = max(1, r.placements[p].Next)
		}
		home.Placements = append(home.Placements, r.place(p, number, false))
	}
	return home, nil
}

// place is the next version of a partition's placement, with one replica.
func (r *Recovery) place(p entity.Partition, number uint32, formed bool) entity.Placement {
	old := r.placements[p]
	return entity.Placement{
		Partition: p, Version: old.Version + 1, Formed: formed,
		Next: max(old.Next, number+1), Replicas: []entity.Replica{r.replica(number)},
	}
}

// String says in a line what a replica comes to.
func (h Held) String() string {
	text := fmt.Sprintf("partition %d: replica %d, state at log index %d, log to %d", h.Partition, h.Replica, h.Applied, h.Last)
	if h.Leaving {
		text += ", not this node's any more: may be old"
	}
	return text
}
