package raftfsm

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// Bounds of connections. Apply decides by them, so they are no settings.
const (
	// maxVerbs is how many verbs an application may have, maxVerb how long one may
	// be, in bytes.
	maxVerbs = 10_000
	maxVerb  = 256
	// maxDropped is how many edges one command removes with the entities it deletes,
	// maxDroppedBytes how many bytes of records of other entities it writes for that,
	// about; what is left is a task's.
	maxDropped      = 2000
	maxDroppedBytes = 8 << 20
	// maxSearched is how many collections a UUID is looked for in that came without
	// its type.
	maxSearched = 1000
)

// edge is a connection as its keys name it.
type edge struct {
	source entity.End
	verb   entity.VerbID
	target entity.End
	eseq   entity.Seq
}

// place is an entity that a command refers to.
type place struct {
	in *collection
	entity.Entity
}

func (p *place) end() entity.End { return entity.End{Collection: p.in.ID, Seq: p.Seq} }

// resolve returns the entity that ref names. Its JSON lives until the next find.
func (m *Machine) resolve(app entity.AppID, ref *command.Ref) (p place, found bool, err error) {
	if ref.Collection != "" || !ref.Any {
		if p.in, err = m.open(app, ref.Collection, nil); err != nil {
			return p, false, err
		}
		if p.Entity, found, err = m.find(p.in, &ref.Target); err != nil || found {
			return p, found, err
		}
	}
	if !ref.Any || ref.Target.ID.IsZero() {
		return p, false, nil
	}
	name, err := m.search(app, ref.Target.ID)
	if err != nil || name == "" {
		return p, false, err
	}
	if p.in, err = m.open(app, name, nil); err != nil {
		return p, false, err
	}
	p.Entity, found, err = m.find(p.in, &ref.Target)
	return p, found, err
}

// search returns the collection of an application that has an entity with an id, of
// the first maxSearched in order of their names; "" if none has.
func (m *Machine) search(app entity.AppID, id entity.ID) (in string, err error) {
	lower, upper := keys.NameRange(m.cfg.Partition, app, 0)
	looked := 0
	scanned := m.batch.Scan(lower, upper, func(key, value []byte) bool {
		_, name, _ := keys.DecodeName(key)
		if name == "" { // keeps the next number
			return true
		}
		number, bad := decodeNumber(app, 0, name, value)
		if err = bad; err != nil {
			return false
		}
		m.key = keys.AppendID(m.key[:0], m.cfg.Partition, app, entity.CollectionID(number), id)
		found := false
		if _, found, err = m.get(m.key); found {
			in = name
		}
		looked++
		return err == nil && !found && looked < maxSearched
	})
	if err == nil {
		err = scanned
	}
	return in, err
}

// noSource says that the source of an edge does not exist.
func noSource(ref *command.Ref) error {
	return refuse(fault.ServiceResourceNotFound, "no such entity in collection %s", ref.Collection)
}

// noTarget says that the target of an edge does not exist.
func noTarget() error {
	return refuse(fault.ServiceResourceNotFound, "there is no such entity to be connected")
}

func (m *Machine) connect(cmd *command.Command, op *command.Connect) (result, error) {
	return m.join(cmd, op, true)
}

// join is connect; feeds says that a new follower gets what was published.
func (m *Machine) join(cmd *command.Command, op *command.Connect, feeds bool) (result, error) {
	verb, known, err := m.verb(cmd.App, op.Verb)
	if err != nil {
		return result{}, err
	}
	source, found, err := m.resolve(cmd.App, &op.Source)
	if err == nil && !found {
		err = noSource(&op.Source)
	}
	if err != nil {
		return result{}, err
	}
	source.JSON = nil
	res, target, err := m.target(cmd, op)
	if err != nil {
		return result{}, err
	}
	m.regroup(cmd.App, verb.name)
	// Nothing is refused from here on.
	if !known {
		m.enrollVerb(cmd.App, verb)
	}
	e := edge{source: source.end(), verb: verb.id, target: target.end()}
	fresh, err := m.putEdge(cmd.App, &e, verb.name, op.Keep)
	if err == nil && fresh && feeds && follows(&source, &target, verb.name) {
		err = m.followed(cmd, &e)
	}
	if err != nil {
		return result{}, err
	}
	shown := &res.Entities[0]
	if !source.HasOut {
		if _, err := m.markEnd(cmd.App, e.source, keys.Outbound, true); err != nil {
			return result{}, err
		}
	}
	if !shown.HasIn {
		if _, err := m.markEnd(cmd.App, e.target, keys.Inbound, true); err != nil {
			return result{}, err
		}
	}
	shown.HasIn = true
	shown.HasOut = shown.HasOut || e.source == e.target
	res.Source, res.Collections = source.ID, []string{target.in.name}
	return res, nil
}

// target finds, changes or creates the target of a Connect, which is the one entity
// of the result.
func (m *Machine) target(cmd *command.Command, op *command.Connect) (result, place, error) {
	if op.Create == nil && len(op.Patch) == 0 {
		p, found, err := m.resolve(cmd.App, &op.Target)
		if err == nil && !found {
			err = noTarget()
		}
		if err != nil {
			return result{}, p, err
		}
		p.JSON = bytes.Clone(p.JSON)
		res := m.newResult(1)
		res.add(p.in, p.Entity)
		return res, p, nil
	}
	c, err := m.open(cmd.App, op.Rules.Collection, op.Rules.Unique)
	if err != nil {
		return result{}, place{}, err
	}
	e, found, err := m.find(c, &op.Target.Target)
	if err != nil {
		return result{}, place{}, err
	}
	change := command.UpdateEntity{Rules: op.Rules, Target: op.Target.Target, Patch: op.Patch, Create: op.Create}
	var res result
	switch {
	case !found:
		res, err = m.upsert(cmd, &change, c)
	case len(op.Patch) > 0:
		res, err = m.updateEntity(cmd, &change)
	default:
		e.JSON = bytes.Clone(e.JSON)
		res = m.newResult(1)
		res.add(c, e)
	}
	if f := refusedBy(err); f != nil && (f.Code == fault.ServiceResourceNotFound || f.Code == fault.UnexpectedEntityType) {
		err = noTarget()
	}
	if err != nil {
		return result{}, place{}, err
	}
	return res, place{in: c, Entity: res.Entities[0]}, nil
}

func (m *Machine) disconnect(cmd *command.Command, op *command.Disconnect) (result, error) {
	if len(op.Targets) > command.MaxMany {
		return result{}, refuse(fault.IllegalArgument, "%d targets, more than the %d allowed", len(op.Targets), command.MaxMany)
	}
	verb, known, err := m.verb(cmd.App, op.Verb)
	if err != nil {
		return result{}, err
	}
	source, found, err := m.resolve(cmd.App, &op.Source)
	if err == nil && !found {
		err = noSource(&op.Source)
	}
	if err != nil {
		return result{}, err
	}
	from, bytesLeft := source.end(), command.MaxManyBytes
	res := m.newResult(len(op.Targets))
	res.Source = source.ID
	for i := range op.Targets {
		target, found, err := m.resolve(cmd.App, &op.Targets[i])
		if err != nil {
			return result{}, err
		}
		e := edge{source: from, verb: verb.id}
		connected := false
		if found {
			e.target = target.end()
		}
		if found && known {
			if e.eseq, connected, err = storage.Connected(m.batch, cmd.App, e.source, e.verb, e.target); err != nil {
				return result{}, err
			}
		}
		if found && (connected || !op.Strict) {
			if bytesLeft -= len(target.JSON); bytesLeft < 0 && len(res.Entities) > 0 {
				break
			}
			target.JSON = bytes.Clone(target.JSON)
			if connected {
				if _, err := m.dropEdge(cmd.App, &e); err != nil {
					return result{}, err
				}
			}
			res.add(target.in, target.Entity)
			res.Collections = append(res.Collections, target.in.name)
		}
		res.Handled = i + 1
	}
	if len(res.Entities) == 0 {
		return result{}, noTarget()
	}
	m.regroup(cmd.App, verb.name)
	return res, m.reflag(cmd.App, &res)
}

// regroup notes that edges of a verb change, which may be those of memberships.
func (m *Machine) regroup(app entity.AppID, verb string) {
	if entity.ReservedVerb(verb) {
		m.touched = append(m.touched, app)
	}
}

// reflag makes the entities of a result say whether they have edges now: each of
// them may have lost some to the others.
func (m *Machine) reflag(app entity.AppID, res *result) (err error) {
	for i := range res.Entities {
		e := &res.Entities[i]
		end := entity.End{Collection: res.where[i], Seq: e.Seq}
		if e.HasOut {
			if e.HasOut, err = m.hasEdges(app, end, keys.Outbound); err != nil {
				return err
			}
		}
		if e.HasIn {
			if e.HasIn, err = m.hasEdges(app, end, keys.Inbound); err != nil {
				return err
			}
		}
	}
	return nil
}

// verbName is a verb of an application.
type verbName struct {
	name string // folded
	id   entity.VerbID
}

// verb returns a verb, and whether the dictionary has it; else with the number it
// would get.
func (m *Machine) verb(app entity.AppID, name string) (v verbName, known bool, err error) {
	v.name = keys.Fold(name)
	if v.name == "" || len(v.name) > maxVerb {
		return v, false, refuse(fault.IllegalArgument, "a verb cannot have a name of %d bytes", len(v.name))
	}
	if v.id, known = m.verbs[nameKey{app, v.name}]; known {
		return v, true, nil
	}
	if v.id, known, err = storage.VerbID(m.batch, app, v.name); err != nil {
		return v, false, err
	}
	if known {
		m.noteVerb(app, v)
		return v, true, nil
	}
	next, err := m.nextNumber(m.batch, app, keys.Verbs)
	if err == nil && next > maxVerbs {
		err = refuse(fault.IllegalArgument, "the application has %d verbs and cannot have another", next-1)
	}
	v.id = entity.VerbID(next)
	return v, false, err
}

func (m *Machine) enrollVerb(app entity.AppID, v verbName) {
	m.setNumber(app, keys.Verbs, v.name, uint32(v.id))
	m.setNumber(app, keys.Verbs, "", uint32(v.id)+1)
	m.noteVerb(app, v)
}

func (m *Machine) noteVerb(app entity.AppID, v verbName) {
	if m.verbs == nil || len(m.verbs) >= maxNames {
		m.verbs = make(map[nameKey]entity.VerbID)
	}
	m.verbs[nameKey{app, v.name}] = v.id
}

// forgetVerbs drops what is known of the verbs of an application.
func (m *Machine) forgetVerbs(app entity.AppID) {
	for key := range m.verbs {
		if key.app == app {
			delete(m.verbs, key)
		}
	}
}

// putEdge makes e the newest edge of its verb, whether or not it exists; or leaves
// it alone if it does and keep says so. It reports whether there was none.
func (m *Machine) putEdge(app entity.AppID, e *edge, verb string, keep bool) (fresh bool, err error) {
	old, exists, err := storage.Connected(m.batch, app, e.source, e.verb, e.target)
	if err != nil || exists && keep {
		return false, err
	}
	if e.eseq, err = m.nextEdge(app); err != nil {
		return false, err
	}
	if exists {
		was := *e
		was.eseq = old
		m.unlistEdge(app, &was)
	} else {
		if _, err := m.count(app, e.source, keys.Outbound, e.verb, verb, 1); err != nil {
			return false, err
		}
		if _, err := m.count(app, e.target, keys.Inbound, e.verb, verb, 1); err != nil {
			return false, err
		}
	}
	p := m.cfg.Partition
	m.key = keys.AppendEdge(m.key[:0], p, app, keys.Outbound, e.source, e.verb, e.eseq, e.target)
	m.batch.Set(m.key, nil)
	m.key = keys.AppendEdge(m.key[:0], p, app, keys.Inbound, e.target, e.verb, e.eseq, e.source)
	m.batch.Set(m.key, nil)
	m.key = keys.AppendConnected(m.key[:0], p, app, e.source, e.verb, e.target)
	m.value = keys.AppendSeq(m.value[:0], e.eseq)
	m.batch.Set(m.key, m.value)
	return !exists, nil
}

// unlistEdge removes the keys that list an edge at its ends.
func (m *Machine) unlistEdge(app entity.AppID, e *edge) {
	m.key = keys.AppendEdge(m.key[:0], m.cfg.Partition, app, keys.Outbound, e.source, e.verb, e.eseq, e.target)
	m.batch.Delete(m.key)
	m.key = keys.AppendEdge(m.key[:0], m.cfg.Partition, app, keys.Inbound, e.target, e.verb, e.eseq, e.source)
	m.batch.Delete(m.key)
}

// dropEdge removes an edge that exists, and returns how many bytes of entities were
// written for it.
func (m *Machine) dropEdge(app entity.AppID, e *edge) (written int, err error) {
	m.unlistEdge(app, e)
	m.key = keys.AppendConnected(m.key[:0], m.cfg.Partition, app, e.source, e.verb, e.target)
	m.batch.Delete(m.key)
	out, err := m.uncount(app, e.source, keys.Outbound, e.verb)
	if err != nil {
		return 0, err
	}
	in, err := m.uncount(app, e.target, keys.Inbound, e.verb)
	return out + in, err
}

// uncount notes that an end has an edge less, and if it was the last that it has
// none. It returns how many bytes of an entity were written for that.
func (m *Machine) uncount(app entity.AppID, end entity.End, direction byte, verb entity.VerbID) (written int, err error) {
	left, err := m.count(app, end, direction, verb, "", -1)
	if err != nil || left > 0 {
		return 0, err
	}
	others, err := m.hasEdges(app, end, direction)
	if err != nil || others {
		return 0, err
	}
	return m.markEnd(app, end, direction, false)
}

// count adds by to the number of edges of a verb at an end, and returns the sum.
func (m *Machine) count(app entity.AppID, end entity.End, direction byte, verb entity.VerbID, name string, by int) (int, error) {
	m.key = keys.AppendVerb(m.key[:0], m.cfg.Partition, app, end, direction, verb)
	raw, ok, err := m.get(m.key)
	if err != nil {
		return 0, err
	}
	had := uint64(0)
	if ok {
		var known []byte
		if had, known, ok = storage.DecodeVerbCount(raw); !ok {
			return 0, fault.New(fault.Corrupt, "number of edges at key %x", m.key)
		}
		name = string(known)
	}
	n := int(had) + by
	switch {
	case n < 0:
		return 0, fault.New(fault.Corrupt, "key %x counts no edge, and there was one", m.key)
	case n == 0:
		m.batch.Delete(m.key)
	default:
		m.value = storage.AppendVerbCount(m.value[:0], uint64(n), name)
		m.batch.Set(m.key, m.value)
	}
	return n, nil
}

// hasEdges reports whether an end has an edge in a direction.
func (m *Machine) hasEdges(app entity.AppID, end entity.End, direction byte) (has bool, err error) {
	lower, upper := keys.VerbRange(m.cfg.Partition, app, end, direction)
	err = m.batch.Scan(lower, upper, func(_, _ []byte) bool { has = true; return false })
	return has, err
}

// markEnd makes the record of an end's entity, if it is there, say whether it has edges
// in a direction, and returns how many bytes were written for that.
func (m *Machine) markEnd(app entity.AppID, end entity.End, direction byte, has bool) (int, error) {
	m.key = keys.AppendEntity(m.key[:0], m.cfg.Partition, app, end.Collection, end.Seq)
	raw, ok, err := m.get(m.key)
	if err != nil || !ok || !entity.MarkRecord(raw, direction == keys.Outbound, has) {
		return 0, err
	}
	m.batch.Set(m.key, raw)
	if cap(m.value) > maxArena {
		m.value = nil
	}
	return len(raw), nil
}

// nextEdge takes a number for an edge of an application.
func (m *Machine) nextEdge(app entity.AppID) (entity.Seq, error) {
	next, err := m.edgeNumber(app)
	if err != nil {
		return 0, err
	}
	m.value = keys.AppendSeq(m.value[:0], next+1)
	m.batch.Set(m.key, m.value)
	return next, nil
}

// edgeNumber returns the number that the next edge of an application gets, and leaves its
// key in m.key.
func (m *Machine) edgeNumber(app entity.AppID) (entity.Seq, error) {
	m.key = keys.AppendEdges(m.key[:0], m.cfg.Partition, app)
	raw, ok, err := m.get(m.key)
	if err != nil {
		return 0, err
	}
	next := entity.Seq(1)
	if ok {
		if next, ok = keys.DecodeSeq(raw); !ok {
			return 0, fault.New(fault.Corrupt, "counter of edges of application %d", app)
		}
	}
	return next, nil
}

// severed reports whether an entity that is deleted may have something for sever to
// remove.
func (c *collection) severed(e *entity.Entity) bool { return e.HasOut || e.HasIn || c.lists() }

// sever removes the edges of entities that a command has deleted, and the entries of lists
// that they have or are in: as many as it may, and the rest in a task.
func (m *Machine) sever(cmd *command.Command, ends []entity.End) error {
	left, err := m.dropEnds(cmd.App, ends, maxDropped)
	if err != nil || len(left) == 0 {
		return err
	}
	m.recordTask(nil, &entity.Task{
		ID: endID(entity.TaskDropEdges, cmd.App, left[0], 0), Kind: entity.TaskDropEdges, App: cmd.App, Priority: entity.Normal, State: entity.TaskReady,
		Created: cmd.Time, Body: command.AppendEnds(nil, left),
	})
	return nil
}

// endID is the id of the task of a kind that is about an end, and about one of its edges
// if that is not 0: there is but one such task ever. An end is deleted but once. It is a
// hash, so that no entity whose UUID a client chose has it.
func endID(kind string, app entity.AppID, end entity.End, eseq entity.Seq) entity.ID {
	b := binary.BigEndian.AppendUint32([]byte(kind), uint32(app))
	b = binary.BigEndian.AppendUint32(b, uint32(end.Collection))
	b = binary.BigEndian.AppendUint64(b, uint64(end.Seq))
	if eseq != 0 {
		b = binary.BigEndian.AppendUint64(b, uint64(eseq))
	}
	sum := sha256.Sum256(b)
	id := entity.ID(sum[:16])
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80 // version 8: of one's own making
	return id
}

func (m *Machine) dropEdges(cmd *command.Command, op *command.DropEdges) (result, error) {
	if op.Limit == 0 || len(op.Ends) > command.MaxMany {
		return result{}, refuse(fault.IllegalArgument, "at most %d edges of %d entities", op.Limit, len(op.Ends))
	}
	gone := make([]entity.End, 0, len(op.Ends))
	for _, end := range op.Ends {
		m.key = keys.AppendEntity(m.key[:0], m.cfg.Partition, cmd.App, end.Collection, end.Seq)
		if _, exists, err := m.get(m.key); err != nil {
			return result{}, err
		} else if !exists {
			gone = append(gone, end)
		}
	}
	_, err := m.dropEnds(cmd.App, gone, min(int(op.Limit), maxDropped))
	return result{}, err
}

// dropEnds removes edges of entities that are gone, and entries of lists, so many at most,
// and returns the ends that have others.
func (m *Machine) dropEnds(app entity.AppID, ends []entity.End, most int) (left []entity.End, err error) {
	room := dropRoom{edges: most, bytes: maxDroppedBytes}
	for i, end := range ends {
		for _, direction := range [...]byte{keys.Outbound, keys.Inbound} {
			done, err := m.dropSide(app, end, direction, &room)
			if err != nil {
				return nil, err
			}
			if !done {
				return ends[i:], nil
			}
		}
		done, err := m.dropListing(app, end, &room)
		if err != nil {
			return nil, err
		}
		if !done {
			return ends[i:], nil
		}
	}
	return nil, nil
}

// dropRoom is how much a command may still do. An entry of a list counts as an edge.
type dropRoom struct{ edges, bytes int }

// dropSide removes the edges of an end in a direction, and reports whether none is
// left.
func (m *Machine) dropSide(app entity.AppID, end entity.End, direction byte, room *dropRoom) (done bool, err error) {
	var list []edge
	done = true
	lower, upper := keys.EdgesRange(m.cfg.Partition, app, direction, end)
	scanned := m.batch.Scan(lower, upper, func(key, _ []byte) bool {
		if len(list) == room.edges {
			done = false
			return false
		}
		_, near, verb, eseq, far, ok := keys.DecodeEdge(key)
		if !ok {
			err = fault.New(fault.Corrupt, "edge key %x", key)
			return false
		}
		if direction == keys.Inbound {
			near, far = far, near
		}
		list = append(list, edge{source: near, verb: verb, target: far, eseq: eseq})
		return true
	})
	if err == nil {
		err = scanned
	}
	if err != nil {
		return false, err
	}
	for i := range list {
		if room.bytes <= 0 {
			return false, nil
		}
		written, err := m.dropEdge(app, &list[i])
		if err != nil {
			return false, err
		}
		room.edges--
		room.bytes -= written
	}
	return done, nil
}
