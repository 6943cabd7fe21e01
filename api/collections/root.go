package collections

import (
	"slices"
	"strconv"
	"strings"

	"github.com/trellisdb/trellis/api/auth"
	"github.com/trellisdb/trellis/api/directory"
	"github.com/trellisdb/trellis/api/inflect"
	"github.com/trellisdb/trellis/api/schema"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

const (
	maxApplicationPatch = 64 << 10 // properties of an application, in one request
	maxNewCollections   = 1000     // in one request
)

// root answers requests about the application itself.
func (h *Handlers) root(req *wire.Request) (*wire.Reply, error) {
	if req.Method() == "DELETE" {
		return nil, fault.New(fault.UnsupportedRest, "Delete must be done from the management endpoint")
	}
	if err := req.Access.Check(auth.OpOf(req.Method()), nil); err != nil {
		return nil, err
	}
	if req.Method() == "PUT" {
		if err := h.change(req); err != nil {
			return nil, err
		}
	}
	return h.showRoot(req)
}

// showRoot answers with the application and its collections.
func (h *Handlers) showRoot(req *wire.Request) (*wire.Reply, error) {
	record, err := h.record(req)
	if err != nil {
		return nil, err
	}
	var collections []storage.Collection
	err = h.reading(req, func(v *storage.View) error {
		collections, err = storage.Collections(v, req.App.Number)
		return err
	})
	if err != nil {
		return nil, err
	}
	shown, err := directory.AppendApplicationEntity(nil, req.App, &record, collections)
	if err != nil {
		return nil, err
	}
	return req.Root().AppendRaw(shown), nil
}

// record reads the application's record, which lies in the management
// application.
func (h *Handlers) record(req *wire.Request) (e entity.Entity, err error) {
	v, err := h.cluster.View(req.Context(), entity.Management)
	if err != nil {
		return e, err
	}
	defer func() {
		if closed := v.Close(); err == nil {
			err = closed
		}
	}()
	col, ok, err := storage.ReadCollection(v, entity.Management, command.Applications().Collection)
	if err != nil {
		return e, err
	}
	if ok {
		if e, ok, err = storage.ReadEntityByID(v, entity.Management, col.ID, req.App.ID); err != nil {
			return e, err
		}
	}
	if !ok {
		return e, fault.New(fault.OrganizationApplicationNotFound, "application %s is gone", req.App.ID)
	}
	return e, nil
}

// change answers PUT of the application: properties to merge, collections to
// create.
func (h *Handlers) change(req *wire.Request) error {
	text, err := req.JSON()
	if err != nil || text == nil {
		return err
	}
	if text[skipSpace(text, 0)] != '{' {
		return fault.New(fault.JSONMapping, "body must be a JSON object")
	}
	patch := &document{}
	var names []string
	err = eachMember(text, func(m member) error {
		switch {
		case keys.SameFold(m.key, "metadata"):
			names, err = collectionNames(m.value)
			return err
		case directory.ServersOwn(m.key):
			return nil
		case keys.SameFold(m.key, "accesstokenttl") && !isEmpty(m.value):
			if n, err := strconv.ParseInt(strings.Trim(string(m.value), `"`), 10, 64); err != nil || n < 0 {
				return fault.New(fault.IllegalArgument, "accesstokenttl must be a number of milliseconds")
			}
			m.value = []byte(strings.Trim(string(m.value), `"`))
		}
		value, err := appendValue(nil, m.value, m.key)
		if isEmpty(value) {
			value = []byte("null")
		}
		if err != nil {
			return err
		}
		return patch.set(m.key, m.quote, value)
	})
	if err != nil {
		return err
	}
	return h.apply(req, patch, names)
}

func (h *Handlers) apply(req *wire.Request, patch *document, names []string) error {
	if len(names) > 0 {
		if _, err := h.propose(req, command.CreateCollections{Names: names}); err != nil {
			return err
		}
	}
	if len(patch.properties) == 0 {
		return nil
	}
	text, err := patch.json(forUpdate)
	if err != nil {
		return err
	}
	if len(text) > maxApplicationPatch {
		return fault.New(fault.EntityTooLarge, "properties of an application are larger than %d bytes", maxApplicationPatch)
	}
	_, err = h.proposeIn(req, entity.Management, command.UpdateEntity{
		Rules: command.Applications(), Target: command.Target{ID: req.App.ID}, Patch: text,
	})
	return err
}

// collectionNames reads {"collections":{"widgets":{}}}.
func collectionNames(metadata []byte) ([]string, error) {
	var names []string
	add := func(m member) error {
		if inflect.Collection(m.key) == "applications" {
			return nil
		}
		t, err := schema.Of(m.key)
		if err != nil {
			return err
		}
		if len(names) == maxNewCollections {
			return fault.New(fault.IllegalArgument, "more than %d collections in one request", maxNewCollections)
		}
		if !slices.Contains(names, t.Collection) {
			names = append(names, t.Collection)
		}
		return nil
	}
	if metadata[0] != '{' {
		return nil, nil
	}
	err := eachMember(metadata, func(m member) error {
		if m.key != "collections" || m.value[0] != '{' {
			return nil
		}
		return eachMember(m.value, add)
	})
	return names, err
}
