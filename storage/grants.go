package storage

import (
	"errors"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// Grants returns the permissions of a user, group or role, in order of their text.
func Grants(v *View, app entity.AppID, owner entity.ID) (list []string, err error) {
	it, err := v.Scan(keys.GrantRange(v.Partition(), app, owner))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		_, text, ok := keys.DecodeGrant(it.Key())
		if !ok {
			return nil, fault.New(fault.Corrupt, "partition %d: permission at key %x", v.Partition(), it.Key())
		}
		list = append(list, text)
	}
	return list, it.Err()
}
