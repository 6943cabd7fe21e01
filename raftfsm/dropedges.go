package raftfsm

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

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
