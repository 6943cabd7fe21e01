package raftfsm

import (
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

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
