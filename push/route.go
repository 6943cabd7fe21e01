package push

import (
	"fmt"
	"strings"

	"github.com/trellisdb/trellis/push/provider"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
)

// route is a notifier as devices and notifications know it.
type route struct {
	number   entity.Seq
	id       entity.ID
	rev      entity.Seq
	name     string
	kind     string // its provider's name
	provider provider.Provider
	json     []byte
}

// suffix ends the names of the properties that hold tokens.
const suffix = ".notifier.id"

// properties returns the names under which a device can hold a token: the form that wins
// first.
func (r *route) properties() []string {
	byID := r.id.String() + suffix
	if r.name == "" {
		return []string{byID}
	}
	return []string{r.name + suffix, byID}
}

// label is what the notifier is called: its name, or its UUID if it has none.
func (r *route) label() string {
	if r.name == "" {
		return r.id.String()
	}
	return r.name
}

// is tells whether a key of payloads names the notifier.
func (r *route) is(key string) bool {
	return key != "" && strings.EqualFold(key, r.name) || strings.EqualFold(key, r.id.String())
}

// held is a token of a device, and the property in which it is.
type held struct {
	property string
	token    provider.Token
}

// tokenOf returns what a device is registered with.
func (r *route) tokenOf(device object) (held, bool) {
	for _, property := range r.properties() {
		if value := device.get(property); !isNull(value) {
			if t, ok := r.provider.Token(value); ok && t.Text != "" {
				return held{property: property, token: t}, true
			}
		}
	}
	return held{}, false
}

// payloadOf returns what a notification says to the notifier: its first payload for it.
func (r *route) payloadOf(n *note) []byte {
	for i := range n.payloads {
		if r.is(n.payloads[i].name) && !isNull(n.payloads[i].value) {
			return n.payloads[i].value
		}
	}
	return nil
}

func newRoute(e *entity.Entity, set provider.Set) (*route, error) {
	o, err := parseObject(e.JSON)
	if err != nil {
		return nil, fmt.Errorf("notifier %s: %w", e.ID, err)
	}
	r := &route{number: e.Seq, id: e.ID, rev: e.Rev, name: o.text("name"), kind: o.text("provider"), json: e.JSON}
	if r.provider = set[r.kind]; r.provider == nil {
		return nil, fmt.Errorf("notifier %s: there is no provider %q", e.ID, r.kind)
	}
	return r, nil
}

// routeByNumber reads a notifier; nil: there is none.
func routeByNumber(v storage.Reader, app entity.AppID, number entity.Seq, set provider.Set) (*route, error) {
	c, ok, err := storage.ReadCollectionID(v, app, notifiers)
	if err != nil || !ok {
		return nil, err
	}
	e, ok, err := storage.ReadEntity(v, app, c, number)
	if err != nil || !ok {
		return nil, err
	}
	return newRoute(&e, set)
}

// routesOf returns the notifiers that a notification has payloads for, in the order of
// these. Those that are gone are left out.
func routesOf(v storage.Reader, app entity.AppID, n *note, set provider.Set) ([]*route, error) {
	c, ok, err := storage.ReadCollectionID(v, app, notifiers)
	if err != nil || !ok {
		return nil, err
	}
	var list []*route
	for i := range n.payloads {
		if isNull(n.payloads[i].value) {
			continue
		}
		e, ok, err := findNotifier(v, app, c, n.payloads[i].name)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		r, err := newRoute(&e, set)
		if err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, nil
}

func findNotifier(v storage.Reader, app entity.AppID, c entity.CollectionID, key string) (entity.Entity, bool, error) {
	if id, ok := entity.ParseID(key); ok {
		if e, ok, err := storage.ReadEntityByID(v, app, c, id); err != nil || ok {
			return e, ok, err
		}
	}
	return storage.ReadEntityByAlias(v, app, c, "name", key)
}

// choose returns the notifier through which a device gets a notification: the first
// that it has a token for.
func choose(routes []*route, device object) (*route, bool) {
	for _, r := range routes {
		if _, ok := r.tokenOf(device); ok {
			return r, true
		}
	}
	return nil, false
}
