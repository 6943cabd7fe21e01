package push

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/trellisdb/trellis/push/provider"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// Bounds of what a dead token costs.
const (
	holdersPage  = 100 // devices that are read at a time
	holdersPages = 100 // of them at most; who holds the token beyond gets another answer of its own
	reviseTries  = 8   // of a change of an entity that others change, too
)

// clearToken takes a dead token off every device that holds it, save those that came with
// it after it was known to be dead: they have it anew.
func (e *Engine) clearToken(l *lane, it *item, since time.Time) {
	if err := e.tryClear(l, it, since); err != nil && e.sending.Err() == nil {
		e.log.Warn("dead token not taken off every device; the next message to it will tell again", "application", l.app, "notifier", it.route.id, "device", it.id, "error", err)
	}
}

func (e *Engine) tryClear(l *lane, it *item, since time.Time) error {
	drop := dropDead(it.route, it.held.token.Shown, since)
	if _, err := e.reviseDevice(l, it.id, drop); err != nil {
		return err
	}
	for _, property := range it.route.properties() {
		if err := e.clearHolders(l, property, it.held.token.Shown, drop); err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) clearHolders(l *lane, property, token string, drop func(*entity.Entity) ([]byte, error)) error {
	for range holdersPages {
		holders, err := e.holders(l, property, token)
		if err != nil {
			return err
		}
		changed := false
		for i := range holders {
			did, err := e.reviseDevice(l, holders[i].ID, drop)
			if err != nil {
				return err
			}
			changed = changed || did
		}
		if !changed || len(holders) < holdersPage {
			return nil
		}
	}
	return nil
}

func (e *Engine) holders(l *lane, property, token string) (list []entity.Entity, err error) {
	v, err := e.host.View(l.partition)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, v.Close()) }()
	return e.targets.Holders(e.sending, v, l.app, property, token, holdersPage)
}

// dropDead makes the patch that takes a token off a device; nil if it has another, or
// has it anew.
func dropDead(r *route, token string, since time.Time) func(*entity.Entity) ([]byte, error) {
	return func(device *entity.Entity) ([]byte, error) {
		return withToken(device, r, token, nil, func(registered int64) bool {
			return since.IsZero() || registered <= since.UnixMilli()
		})
	}
}

// registrationOf is the name of the property in which the API notes the registration of
// which another holds the token: {"at": when the device came with it, ms since the epoch}.
func registrationOf(property string) string {
	return strings.TrimSuffix(property, suffix) + ".notifier.registration"
}

// registeredAt is when a device came with a token, ms since the epoch: of one of which it
// was not noted, the last change of the device is the latest that it can be.
func registeredAt(device *entity.Entity, o object, property string) int64 {
	var noted struct {
		At int64 `json:"at"`
	}
	if raw := o.get(registrationOf(property)); json.Unmarshal(raw, &noted) == nil && noted.At > 0 {
		return noted.At
	}
	return device.Modified
}

// withToken makes the patch that puts a value in the place of a token of a device,
// wherever it is held and wanted says so of the time at which it came; nil if there is
// nothing to do. The value nil ends the registration.
func withToken(device *entity.Entity, r *route, token string, value any, wanted func(registered int64) bool) ([]byte, error) {
	o, err := parseObject(device.JSON)
	if err != nil {
		return nil, fmt.Errorf("device %s: %w", device.ID, err)
	}
	var note any
	if value != nil {
		note = map[string]int64{"at": time.Now().UnixMilli()}
	}
	patch := map[string]any{}
	for _, property := range r.properties() {
		stored := o.get(property)
		if isNull(stored) || !wanted(registeredAt(device, o, property)) {
			continue
		}
		if t, ok := r.provider.Token(stored); ok && t.Shown == token {
			patch[property], patch[registrationOf(property)] = value, note
		}
	}
	if len(patch) == 0 {
		return nil, nil
	}
	return provider.Marshal(patch), nil
}

// replaceToken puts the token in its place that a service wants to be used.
func (e *Engine) replaceToken(l *lane, it *item, token string) {
	_, err := e.reviseDevice(l, it.id, func(device *entity.Entity) ([]byte, error) {
		return withToken(device, it.route, it.held.token.Shown, token, func(int64) bool { return true })
	})
	if err != nil && e.sending.Err() == nil {
		e.log.Warn("token not replaced; the next message to it will tell again", "application", l.app, "notifier", it.route.id, "device", it.id, "error", err)
	}
}

// reviseDevice changes a device as it stands. change returns nil if there is nothing to
// do. It reports whether there was; that the device is gone is no error.
func (e *Engine) reviseDevice(l *lane, id entity.ID, change func(*entity.Entity) ([]byte, error)) (bool, error) {
	return e.revise(l.partition, l.app, devices, id, change)
}

// revise changes an entity as it stands: what the change is made of has not changed when
// it is done.
func (e *Engine) revise(p entity.Partition, app entity.AppID, rules command.Rules, id entity.ID, change func(*entity.Entity) ([]byte, error)) (changed bool, err error) {
	for range reviseTries {
		stored, ok, err := e.readEntity(p, app, rules.Collection, id)
		if err != nil || !ok {
			return false, err
		}
		patch, err := change(&stored)
		if err != nil || patch == nil {
			return false, err
		}
		if !json.Valid(patch) {
			return false, fault.New(fault.Uncaught, "a change of entity %s is no JSON", id)
		}
		err = e.insist(app, command.Command{
			Request: command.RequestID(entity.NewID()), Op: command.ReviseEntity{Rules: rules, ID: id, Rev: stored.Rev, Patch: patch},
		})
		switch {
		case err == nil:
			return true, nil
		case fault.Is(err, fault.ServiceResourceNotFound):
			return false, nil
		case !fault.Is(err, fault.Conflict):
			return false, err
		}
	}
	return false, fault.New(fault.Conflict, "%s %s is changed by others all the time", rules.Type, id)
}

func (e *Engine) readEntity(p entity.Partition, app entity.AppID, collection string, id entity.ID) (found entity.Entity, ok bool, err error) {
	v, err := e.host.View(p)
	if err != nil {
		return found, false, err
	}
	defer func() { err = errors.Join(err, v.Close()) }()
	c, ok, err := storage.ReadCollectionID(v, app, collection)
	if err != nil || !ok {
		return found, false, err
	}
	return storage.ReadEntityByID(v, app, c, id)
}
