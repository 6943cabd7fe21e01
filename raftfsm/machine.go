package raftfsm

import (
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/trellisdb/trellis/index"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// DefaultDedupEntries is how many log entries a request id is remembered for.
const DefaultDedupEntries = 1 << 16

// Config is what a machine is made of.
type Config struct {
	Partition entity.Partition
	State     *storage.State
	// Halt ends the process, because going on would make replicas differ. In
	// production it does not return; if it does, the machine applies nothing more.
	Halt func(error)
	Log  *slog.Logger
	// Configured is told of every configuration of the group that is committed, in
	// the order of the log. It must be quick. nil: nobody is.
	Configured func(raft.Configuration)
	// Tasked is told when tasks have been recorded or have changed. It must be
	// quick. nil: nobody is.
	Tasked func()
	// DedupEntries is the length of the dedup window in log entries, 0 for
	// DefaultDedupEntries. It must be the same on all replicas for ever.
	DedupEntries uint64
}

// Machine is the state machine of one partition, a raft.BatchingFSM. Raft
// calls ApplyBatch, Snapshot and Restore one at a time; Applied, WaitApplied
// and Version may be called by anyone at any time.
type Machine struct {
	cfg      Config
	log      *slog.Logger
	batch    *storage.Batch
	dead     bool   // Halt was called
	last     uint64 // index of the entry being applied, or of the last one applied
	window   window
	names    names
	verbs    map[nameKey]entity.VerbID // of commands so far, as the dictionaries have them
	counters counters
	queued   map[entity.AppID]int // tasks of applications that were counted
	time     int64                // of the command being run, ms since the epoch
	// maxApply is from how many bytes on a batch is committed before its last entry:
	// what a command adds to the indexes can be many times as long as the command.
	maxApply int

	// Reused from command to command.
	decoder   command.Decoder
	cmds      []command.Command
	merger    merger
	before    index.Set
	drafts    []draft
	key       []byte
	value     []byte
	where     []entity.CollectionID
	sums      []bucketSum
	stored    []byte         // record of the entity a command changes
	touched   []entity.AppID // applications whose principals or registry the batch changes
	regranted []entity.AppID // applications whose permissions the batch changes
	tasked    bool           // the batch changes tasks

	applied  progress
	versions [versionSlots]struct{ principals, grants atomic.Uint64 }
}

// versionSlots is how many counters the applications of a partition share.
const versionSlots = 256

var _ raft.BatchingFSM = (*Machine)(nil)

// Open makes the machine of a partition from what the state DB holds.
func Open(cfg Config) (*Machine, error) {
	if cfg.State == nil || cfg.Halt == nil {
		return nil, errors.New("raftfsm: a machine needs a state and a way to halt")
	}
	if cfg.DedupEntries == 0 {
		cfg.DedupEntries = DefaultDedupEntries
	}
	m := &Machine{cfg: cfg, log: cfg.Log, maxApply: 64 << 20}
	if m.log == nil {
		m.log = slog.New(slog.DiscardHandler)
	}
	if err := m.load(); err != nil {
		return nil, fmt.Errorf("partition %d: open state machine: %w", cfg.Partition, err)
	}
	m.batch = cfg.State.NewBatch(cfg.Partition)
	return m, nil
}

// load reads what the machine keeps in memory and forgets what it kept before.
func (m *Machine) load() error {
	view := m.cfg.State.View(m.cfg.Partition)
	applied, err := view.Applied()
	if err == nil {
		err = m.window.load(view, m.cfg.DedupEntries)
	}
	if closed := view.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	m.names.reset()
	m.verbs = nil
	m.counters = counters{}
	m.queued = nil
	m.last = applied
	m.applied.reach(applied)
	return nil
}

// Apply runs one entry, as ApplyBatch does.
func (m *Machine) Apply(entry *raft.Log) any { return m.ApplyBatch([]*raft.Log{entry})[0] }

// ApplyBatch runs committed commands in log order and makes their effect, and
// the index they bring the partition to, visible in one step.
//
// It answers every entry that is a command with []command.Outcome, one per
// command in their order, and every other entry with nil. So does an entry
// that was applied before, which only happens after a restart or a restore.
// Outcomes alias the data of their entry.
//
// Every replica runs the same commands on the same state. Nothing else may
// decide an outcome: no clock, no random number, no map order, no setting.
func (m *Machine) ApplyBatch(entries []*raft.Log) []any {
	responses := make([]any, len(entries))
	if m.dead {
		return responses
	}
	m.touched, m.regranted, m.tasked = m.touched[:0], m.regranted[:0], false
	before := m.last
	for i, entry := range entries {
		if entry.Index <= m.last {
			continue // replayed after a crash, and already in
		}
		m.last = entry.Index
		if entry.Type == raft.LogConfiguration && m.cfg.Configured != nil {
			m.cfg.Configured(raft.DecodeConfiguration(entry.Data))
		}
		if entry.Type != raft.LogCommand {
			continue
		}
		outcomes, err := m.run(entry)
		if err != nil {
			return m.halt(len(entries), fmt.Errorf("partition %d: apply log entry %d: %w", m.cfg.Partition, entry.Index, err))
		}
		responses[i] = outcomes
		if m.batch.Size() > m.maxApply {
			if err := m.commit(); err != nil {
				return m.halt(len(entries), fmt.Errorf("partition %d: commit up to log entry %d: %w", m.cfg.Partition, m.last, err))
			}
		}
	}
	if m.last == before {
		return responses
	}
	if err := m.commit(); err != nil {
		return m.halt(len(entries), fmt.Errorf("partition %d: commit up to log entry %d: %w", m.cfg.Partition, m.last, err))
	}
	for _, app := range m.touched {
		m.versions[app%versionSlots].principals.Add(1)
	}
	for _, app := range m.regranted {
		m.versions[app%versionSlots].grants.Add(1)
	}
	m.applied.reach(m.last)
	if m.tasked && m.cfg.Tasked != nil {
		m.cfg.Tasked()
	}
	return responses
}

func (m *Machine) commit() error {
	if err := m.countPopulations(); err != nil {
		return err
	}
	m.names.flush(m.batch)
	m.window.flush(m.batch)
	m.batch.SetApplied(m.last)
	if err := m.batch.Commit(); err != nil {
		return err
	}
	m.batch.Reset()
	return nil
}

// halt ends the node. If Halt returns, as in tests, the machine is dead and no
// outcome of the batch is handed out.
func (m *Machine) halt(entries int, err error) []any {
	m.dead = true
	m.cfg.Halt(err)
	return make([]any, entries)
}

// run applies the commands of one entry. An error is one the node must not
// survive.
func (m *Machine) run(entry *raft.Log) ([]command.Outcome, error) {
	m.window.advance(entry.Index)
	cmds, err := m.decoder.Decode(m.cmds[:0], entry.Data)
	if err != nil {
		return nil, err
	}
	outcomes := make([]command.Outcome, len(cmds))
	for i := range cmds {
		if outcomes[i], err = m.once(&cmds[i]); err != nil {
			return nil, fmt.Errorf("command %d of kind %d: %w", i, cmds[i].Kind(), err)
		}
	}
	clear(cmds) // they alias the entry
	m.cmds = cmds[:0]
	return outcomes, nil
}

// once answers a request seen before with its recorded outcome, and else runs
// the command and records what became of it.
func (m *Machine) once(cmd *command.Command) (command.Outcome, error) {
	remembered := cmd.Request != command.RequestID{}
	if remembered && m.window.holds(cmd.Request) {
		return m.recall(cmd)
	}
	m.time = cmd.Time
	res, err := m.dispatch(cmd)
	m.where = res.where // used again by the next command
	if err != nil {
		refused := refusedBy(err)
		if refused == nil {
			return command.Outcome{}, err
		}
		res = result{Outcome: command.Outcome{Fault: refused}}
	}
	if remembered {
		m.window.remember(cmd.Request, &command.Record{
			App: cmd.App, Kind: cmd.Kind(), Outcome: res.Outcome, Collections: res.where,
		})
	}
	return res.Outcome, nil
}

// result is an outcome with what the dedup window needs to know of it.
type result struct {
	command.Outcome
	where []entity.CollectionID // command.Record.Collections
}

// refusal carries a fault that a user caused through the returns of handlers,
// where every other error is one of the disk.
type refusal struct{ fault *fault.Error }

func (r refusal) Error() string { return r.fault.Error() }

func refuse(code fault.Code, format string, args ...any) error {
	return refusal{fault.New(code, format, args...)}
}

// refusedBy returns the fault of a refusal, or nil for any other error.
func refusedBy(err error) *fault.Error {
	var r refusal
	if err != nil && errors.As(err, &r) {
		return r.fault
	}
	return nil
}

// refuseAs turns an error of a pure function into a refusal.
func refuseAs(err error) error {
	var f *fault.Error
	if !errors.As(err, &f) {
		f = fault.New(fault.IllegalArgument, "%s", err.Error())
	}
	return refusal{f}
}

// dispatch runs a command. A refused one has left nothing in the batch.
func (m *Machine) dispatch(cmd *command.Command) (result, error) {
	if err := m.belongs(cmd); err != nil {
		return result{}, err
	}
	switch op := cmd.Op.(type) {
	case command.TermStart:
		return result{}, nil // that it was applied is what it is for
	case command.CreateEntities:
		return m.createEntities(cmd, &op)
	case command.UpdateEntity:
		return m.updateEntity(cmd, &op)
	case command.DeleteEntity:
		return m.deleteEntity(cmd, &op)
	case command.CreateCollections:
		return m.createCollections(cmd, &op)
	case command.SetCredential:
		return m.setCredential(cmd, &op)
	case command.PutToken:
		return m.putToken(cmd, &op)
	case command.RevokeToken:
		return m.revokeToken(cmd, &op)
	case command.InitCluster:
		return m.initCluster(cmd, &op)
	case command.CreateOrganization:
		return m.createOrganization(cmd, &op)
	case command.CreateApplication:
		return m.createApplication(cmd, &op)
	case command.DeleteApplication:
		return m.deleteApplication(cmd, &op)
	case command.PutMember:
		return m.putMember(cmd, &op)
	case command.SetMemberState:
		return m.setMemberState(cmd, &op)
	case command.SetPlacements:
		return m.setPlacements(cmd, &op)
	case command.SetProtocol:
		return m.setProtocol(cmd, &op)
	case command.PutTask:
		return m.putTask(cmd, &op)
	case command.StepTask:
		return m.stepTask(cmd, &op)
	case command.FailTask:
		return m.failTask(&op)
	case command.CancelTask:
		return m.cancelTask(&op)
	case command.RetryTask:
		return m.retryTask(cmd, &op)
	case command.PurgeApplication:
		return m.purgeApplication(cmd)
	case command.ForgetApplication:
		return m.forgetApplication(cmd, &op)
	case command.ExpireTokens:
		return m.expireTokens(&op)
	case command.Connect:
		return m.connect(cmd, &op)
	case command.Disconnect:
		return m.disconnect(cmd, &op)
	case command.DropEdges:
		return m.dropEdges(cmd, &op)
	case command.DeleteEntities:
		return m.deleteEntities(cmd, &op)
	case command.UpdateEntities:
		return m.updateEntities(cmd, &op)
	case command.PutSettings:
		return m.putSettings(cmd, &op)
	case command.ClearSettings:
		return m.clearSettings(cmd, &op)
	case command.Reindex:
		return m.reindex(cmd, &op)
	case command.ReindexStep:
		return m.reindexStep(cmd, &op)
	case command.ClearStep:
		return m.clearStep(cmd, &op)
	case command.Together:
		return m.together(cmd, &op)
	case command.SetPermissions:
		return m.setPermissions(cmd, &op)
	case command.SeedRoles:
		return m.seedRoles(cmd, &op)
	case command.SetMembership:
		return m.setMembership(cmd, &op)
	case command.RestoreApplication:
		return m.restoreApplication(cmd, &op)
	case command.TouchToken:
		return m.touchToken(cmd, &op)
	case command.Count:
		return m.countOnly(cmd, &op)
	case command.CreateEvents:
		return m.createEvents(cmd, &op)
	case command.CountEvent:
		return m.countEvent(cmd, &op)
	case command.Post:
		return m.post(cmd, &op)
	case command.Deliver:
		return m.deliver(cmd, &op)
	case command.Unlist:
		return m.unlist(cmd, &op)
	case command.BeginBlob:
		return m.beginBlob(cmd, &op)
	case command.PutChunk:
		return m.putChunk(cmd, &op)
	case command.AttachBlob:
		return m.attachBlob(cmd, &op)
	case command.DropBlob:
		return m.dropBlob(cmd, &op)
	case command.DoomBlob:
		return m.doomBlob(cmd, &op)
	case command.ReviseEntity:
		return m.reviseEntity(cmd, &op)
	case command.ScheduleTask:
		return m.scheduleTask(&op)
	case command.QueueDeliveries:
		return m.queueDeliveries(cmd, &op)
	case command.SettleDeliveries:
		return m.settleDeliveries(cmd, &op)
	case command.ClearDeliveries:
		return m.clearDeliveries(cmd, &op)
	case command.ImportEntities:
		return m.importEntities(cmd, &op)
	case command.ImportEdges:
		return m.importEdges(cmd, &op)
	case command.ImportData:
		return m.importData(cmd, &op)
	case command.ImportFeeds:
		return m.importFeeds(cmd, &op)
	case command.ImportCounters:
		return m.importCounters(cmd, &op)
	case command.NoteJob:
		return result{}, m.noteJob(cmd, &op.Note, result{}, 0, nil, nil)
	case command.PutJob:
		return m.putJob(cmd, &op)
	case command.DropJobs:
		return m.dropJobs(cmd, &op)
	}
	return result{}, fmt.Errorf("no way to apply a %T", cmd.Op)
}

// belongs refuses commands that were sent to the wrong partition or name no
// application: they would write where others' keys lie.
func (m *Machine) belongs(cmd *command.Command) error {
	switch cmd.Op.(type) {
	case command.TermStart:
		return nil
	case command.InitCluster, command.CreateOrganization, command.CreateApplication, command.DeleteApplication,
		command.SetMembership, command.RestoreApplication,
		command.PutMember, command.SetMemberState, command.SetPlacements, command.SetProtocol, command.ForgetApplication:
		if m.cfg.Partition != entity.System || cmd.App != entity.Management {
			return refuse(fault.IllegalArgument, "only the management application does this")
		}
		return nil
	case command.PutTask, command.StepTask, command.FailTask, command.CancelTask, command.RetryTask, command.ScheduleTask, command.ExpireTokens:
		if cmd.App == entity.NoApp {
			return nil // the partition's own
		}
	case command.Connect, command.Disconnect, command.DropEdges, command.DeleteEntities, command.UpdateEntities,
		command.Post, command.Deliver, command.Unlist, command.QueueDeliveries, command.SettleDeliveries, command.ClearDeliveries,
		command.ImportEntities, command.ImportEdges:
		if cmd.App == entity.Management {
			return refuse(fault.ForbiddenOperation, "the management application has no connections, and its entities are changed one by one")
		}
	case command.BeginBlob, command.PutChunk, command.AttachBlob, command.DropBlob, command.DoomBlob:
		if cmd.App == entity.Management {
			return refuse(fault.ForbiddenOperation, "entities of the management application have no binary data")
		}
	}
	if cmd.App == entity.NoApp || (cmd.App == entity.Management) != (m.cfg.Partition == entity.System) {
		return refuse(fault.IllegalArgument, "application %d is not in partition %d", cmd.App, m.cfg.Partition)
	}
	return nil
}

// touch notes that a change of a collection may concern principals, their roles, or
// the registry.
func (m *Machine) touch(app entity.AppID, collection string) {
	if app == entity.Management || mayHold(collection) {
		m.touched = append(m.touched, app)
	}
	if collection == "roles" { // a role says how long its permissions outlast idleness
		m.regranted = append(m.regranted, app)
	}
}

// Version says whether what was derived from the principals of app, or from the
// registry, is still so: see entity.Version.
func (m *Machine) Version(app entity.AppID) entity.Version {
	v := &m.versions[app%versionSlots]
	return entity.Version{Principals: v.principals.Load(), Grants: v.grants.Load()}
}
