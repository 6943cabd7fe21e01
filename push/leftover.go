package push

import (
	"encoding/json"
	"errors"

	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/keys"
)

// receiptsOf returns receipts of a notification, at most so many. It finds those that
// are indexed by it, as all are unless an application has said otherwise.
func receiptsOf(v *storage.View, app entity.AppID, notification entity.ID, most int) (ids []entity.ID, err error) {
	c, ok, err := storage.ReadCollectionID(v, app, receipts.Collection)
	if err != nil || !ok {
		return nil, err
	}
	property, ok, err := storage.PropertyID(v, app, c, "notificationuuid")
	if err != nil || !ok {
		return nil, err
	}
	text := notification.String()
	prefix := keys.AppendValue(keys.AppendOrdered(nil, v.Partition(), app, c, property), &entity.Value{Class: entity.StringClass, String: text})
	it, err := v.Scan(prefix, keys.Successor(prefix))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok && len(ids) < most; ok = it.Next() {
		e, found, err := storage.ReadEntity(v, app, c, keys.Tail(it.Key()))
		if err != nil {
			return nil, err
		}
		var r struct {
			Notification string `json:"notificationUUID"`
		}
		if found && json.Unmarshal(e.JSON, &r) == nil && r.Notification == text {
			ids = append(ids, e.ID)
		}
	}
	return ids, it.Err()
}
