package raftfsm

import (
	"encoding/binary"
	"fmt"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// readMember reads a member as the batch leaves it.
func (m *Machine) readMember(id entity.NodeID) (entity.Member, bool, error) {
	member, ok, err := storage.ReadMember(m.batch, id)
	if err != nil {
		err = fmt.Errorf("read member %s: %w", id, err)
	}
	return member, ok, err
}

func (m *Machine) putMember(cmd *command.Command, op *command.PutMember) (result, error) {
	next := op.Member
	if !entity.ValidNodeName(next.ID.Name()) || next.State == entity.Removed {
		return result{}, refuse(fault.IllegalArgument, "a node cannot join as %q", excerpt(string(next.ID)))
	}
	old, known, err := m.readMember(next.ID)
	if err != nil {
		return result{}, err
	}
	if known {
		if old.State == entity.Removed {
			return result{}, refuse(fault.Conflict, "node %s was removed from the cluster; it can come back only with an empty data directory", next.ID)
		}
		next.State, next.Joined = old.State, old.Joined
	}
	if err := m.takeName(next.ID, op.Replaces); err != nil {
		return result{}, err
	}
	m.writeMember(&next)
	m.touch(cmd.App, "")
	return result{}, nil
}

// takeName makes the name of a node that of id, and removes the member that had
// it if that is the one to be replaced. It is the last check of putMember.
func (m *Machine) takeName(id, replaces entity.NodeID) error {
	key := keys.AppendNode(nil, id.Name())
	holder, ok, err := m.batch.Get(nil, key)
	if err != nil {
		return fmt.Errorf("read who is called %s: %w", id.Name(), err)
	}
	if ok && string(holder) != string(id) {
		other, ok, err := m.readMember(entity.NodeID(holder))
		if err != nil {
			return err
		}
		if !ok {
			return fault.New(fault.Corrupt, "node %s has a name and no record", holder)
		}
		if other.State != entity.Removed {
			if other.ID != replaces {
				return refuse(fault.Conflict, "the cluster has a node called %s already: %s", id.Name(), other.ID)
			}
			other.State = entity.Removed
			m.writeMember(&other)
		}
	}
	m.batch.Set(key, []byte(id))
	return nil
}

func (m *Machine) writeMember(member *entity.Member) {
	m.key = keys.AppendMember(m.key[:0], member.ID)
	m.value = entity.AppendMember(m.value[:0], member)
	m.batch.Set(m.key, m.value)
}

func (m *Machine) setMemberState(cmd *command.Command, op *command.SetMemberState) (result, error) {
	if op.State < entity.Active || op.State > entity.Removed {
		return result{}, refuse(fault.IllegalArgument, "no such state of a member: %d", op.State)
	}
	member, ok, err := m.readMember(op.ID)
	switch {
	case err != nil:
		return result{}, err
	case !ok:
		return result{}, refuse(fault.EntityNotFound, "no node %s in the cluster", excerpt(string(op.ID)))
	case member.State == op.State:
		return result{}, nil
	case member.State == entity.Removed:
		return result{}, refuse(fault.Conflict, "node %s was removed from the cluster, which is final", op.ID)
	}
	member.State = op.State
	m.writeMember(&member)
	m.touch(cmd.App, "")
	return result{}, nil
}

func (m *Machine) setPlacements(cmd *command.Command, op *command.SetPlacements) (result, error) {
	for i := range op.Placements {
		p := &op.Placements[i]
		if err := checkPlacement(p); err != nil {
			return result{}, err
		}
		old, _, err := storage.ReadPlacement(m.batch, p.Partition)
		if err != nil {
			return result{}, fmt.Errorf("read placement of partition %d: %w", p.Partition, err)
		}
		if p.Version != old.Version+1 {
			return result{}, refuse(fault.Conflict, "partition %d: the placement has changed meanwhile", p.Partition)
		}
		if p.Next < old.Next || (old.Formed && !p.Formed) {
			return result{}, refuse(fault.IllegalArgument, "partition %d: the placement would go back", p.Partition)
		}
		for _, other := range op.Placements[:i] {
			if other.Partition == p.Partition {
				return result{}, refuse(fault.IllegalArgument, "partition %d is placed twice", p.Partition)
			}
		}
	}
	for i := range op.Placements {
		m.key = keys.AppendPlacement(m.key[:0], op.Placements[i].Partition)
		m.value = entity.AppendPlacement(m.value[:0], &op.Placements[i])
		m.batch.Set(m.key, m.value)
	}
	m.touch(cmd.App, "")
	return result{}, nil
}

func checkPlacement(p *entity.Placement) error {
	if len(p.Replicas) == 0 {
		return refuse(fault.IllegalArgument, "partition %d: a placement without replicas", p.Partition)
	}
	voters := 0
	for i, r := range p.Replicas {
		if r.Number == 0 || r.Number >= p.Next || r.Node == "" {
			return refuse(fault.IllegalArgument, "partition %d: replica %s has no number of its own", p.Partition, r.ServerID())
		}
		if r.Voter {
			voters++
		}
		for _, other := range p.Replicas[:i] {
			if other.Node == r.Node || other.Number == r.Number {
				return refuse(fault.IllegalArgument, "partition %d: replica %s occurs twice", p.Partition, r.ServerID())
			}
		}
	}
	if voters == 0 {
		return refuse(fault.IllegalArgument, "partition %d: a placement without voters", p.Partition)
	}
	return nil
}

func (m *Machine) setProtocol(cmd *command.Command, op *command.SetProtocol) (result, error) {
	now, err := storage.ReadProtocol(m.batch)
	if err != nil {
		return result{}, fmt.Errorf("read protocol version: %w", err)
	}
	if op.Version <= now {
		return result{}, nil
	}
	m.key = keys.AppendProtocol(m.key[:0])
	m.value = binary.AppendUvarint(m.value[:0], uint64(op.Version))
	m.batch.Set(m.key, m.value)
	m.touch(cmd.App, "")
	return result{}, nil
}
