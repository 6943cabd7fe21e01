package raftfsm

import (
	"bytes"

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
