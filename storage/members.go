package storage

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// ReadMember returns a member of the cluster, from the system partition.
func ReadMember(r Reader, id entity.NodeID) (entity.Member, bool, error) {
	raw, ok, err := r.Get(nil, keys.AppendMember(nil, id))
	if err != nil || !ok {
		return entity.Member{}, false, err
	}
	m, err := entity.DecodeMember(raw)
	return m, err == nil, err
}

// Members returns all members of the cluster in order of their ids, removed ones
// too, from the system partition.
func Members(v *View) (list []entity.Member, err error) {
	it, err := v.Scan(keys.MemberRange())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		m, err := entity.DecodeMember(it.Value())
		if err != nil {
			return nil, fmt.Errorf("member at key %x: %w", it.Key(), err)
		}
		list = append(list, m)
	}
	return list, it.Err()
}

// ReadPlacement returns where a partition is to be, from the system partition.
func ReadPlacement(r Reader, p entity.Partition) (entity.Placement, bool, error) {
	raw, ok, err := r.Get(nil, keys.AppendPlacement(nil, p))
	if err != nil || !ok {
		return entity.Placement{}, false, err
	}
	placement, err := entity.DecodePlacement(raw)
	return placement, err == nil, err
}

// Placements returns where all partitions are to be, in their order, from the
// system partition.
func Placements(v *View) (list []entity.Placement, err error) {
	it, err := v.Scan(keys.PlacementRange())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		p, err := entity.DecodePlacement(it.Value())
		if err != nil {
			return nil, fmt.Errorf("placement at key %x: %w", it.Key(), err)
		}
		list = append(list, p)
	}
	return list, it.Err()
}

// ReadProtocol returns the newest version of commands and messages that may be
// used, from the system partition; 0 before it was set.
func ReadProtocol(r Reader) (uint32, error) {
	raw, ok, err := r.Get(nil, keys.AppendProtocol(nil))
	if err != nil || !ok {
		return 0, err
	}
	v, n := binary.Uvarint(raw)
	if n != len(raw) || v > 1<<32-1 {
		return 0, fault.New(fault.Corrupt, "protocol version")
	}
	return uint32(v), nil
}
