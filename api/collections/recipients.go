package collections

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/trellisdb/trellis/api/schema"
	"github.com/trellisdb/trellis/query"
	"github.com/trellisdb/trellis/query/ql"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// Bounds of one piece of a walk through the devices of a notification.
const (
	ownersAtOnce = 256  // groups or users that are read together
	walkAtMost   = 5000 // groups, users and devices that are looked at
)

// step is one step of a target: the entity of an id, or those that a query selects.
type step struct {
	collection string
	id         entity.ID
	query      *ql.Query // nil: id
}

// all reports whether the step means every entity.
func (s *step) all() bool { return s.query != nil && s.query.Where == nil && s.query.Direct == nil }

// stepsOf reads the stored target of a notification. The last step is always of devices:
// users stand for theirs, groups for those of their members. None: it addresses nobody.
func stepsOf(pathQuery []byte) ([]step, error) {
	if len(pathQuery) == 0 || pathQuery[0] == 'n' {
		return nil, nil
	}
	var target struct {
		PathTokens []pathToken `json:"pathTokens"`
	}
	if err := json.Unmarshal(pathQuery, &target); err != nil {
		return nil, fault.Wrap(err, fault.IllegalArgument, "the target of the notification cannot be read")
	}
	var steps []step
	for _, t := range target.PathTokens {
		if n := len(steps); n > 0 && !contains(leadsTo[steps[n-1].collection], t.Collection) || n == 0 && !contains([]string{"devices", "users", "groups"}, t.Collection) {
			return nil, fault.New(fault.IllegalArgument, "the target of the notification has a step that leads nowhere: %q", clip(t.Collection))
		}
		s := step{collection: t.Collection}
		var ok bool
		var err error
		if t.Identifier == nil {
			s.query, err = targetQuery(t.Query)
		} else if s.id, ok = entity.ParseID(t.Identifier.Value); !ok {
			err = fault.New(fault.IllegalArgument, "the target of the notification names no UUID: %q", clip(t.Identifier.Value))
		}
		if err != nil {
			return nil, err
		}
		steps = append(steps, s)
	}
	for len(steps) > 0 && steps[len(steps)-1].collection != "devices" {
		steps = append(steps, step{collection: leadsTo[steps[len(steps)-1].collection][0], query: &ql.Query{}})
	}
	return steps, nil
}

// targetQuery parses the query of a step. What it would be ordered by does not matter, but
// an order there must be that has a place for everything in few bytes: distances are none.
func targetQuery(text string) (*ql.Query, error) {
	q, err := parseQuery(text)
	if err != nil {
		return nil, err
	}
	q = &ql.Query{Where: q.Where, Direct: q.Direct}
	if len(q.Near()) > 0 {
		q.Order = []ql.SortKey{{Property: "created", Desc: true}}
	}
	return q, nil
}

// Devices returns devices that a notification is for, from a position on (nil: the
// beginning): at most limit of them, and perhaps none though there are more; next is nil
// after the last. Every device that is a target during the whole walk comes at least once,
// one that is reached in several ways perhaps several times. A position holds on every
// node, after restarts, and whatever is changed meanwhile. The fault of a target that
// cannot be resolved is that of its query.
func (h *Handlers) Devices(ctx context.Context, v *storage.View, app entity.AppID, pathQuery, filters []byte, useGraph bool, position []byte, limit int) (devices []entity.Entity, next []byte, err error) {
	w := walk{Handlers: h, ctx: ctx, v: v, app: app, limit: max(limit, 1), left: walkAtMost}
	if w.steps, err = stepsOf(pathQuery); err != nil || len(w.steps) == 0 {
		return nil, nil, err
	}
	if useGraph {
		w.filters = filters
	}
	if w.places, err = decodePlaces(position, len(w.steps)); err != nil {
		return nil, nil, err
	}
	done, err := w.level(0, entity.End{})
	if err != nil || done {
		return w.found, nil, err
	}
	return w.found, appendPlaces(nil, w.places), nil
}

// walk is a piece of a walk through the devices of a target, depth first.
type walk struct {
	*Handlers
	ctx     context.Context
	v       *storage.View
	app     entity.AppID
	steps   []step
	places  []place // where the walk is at each step
	filters []byte
	limit   int
	left    int // entities that may yet be looked at
	found   []entity.Entity
}

// place is where a walk is at a step: in the page that begins at a cursor, at an entity or,
// if it is done with, past it. Entities follow one another from the newest to the oldest.
type place struct {
	cursor string
	at     rank
	past   bool
}

// rank is the place of an entity in the order of a step.
type rank struct {
	created int64 // 0 where the order is that of numbers alone
	number  uint64
}

func (r rank) compare(o rank) int {
	if c := cmp.Compare(r.created, o.created); c != 0 {
		return c
	}
	return cmp.Compare(r.number, o.number)
}

// stopped reports whether the piece is large enough.
func (w *walk) stopped() bool { return len(w.found) >= w.limit || w.left <= 0 }

// level walks a step below an owner, the one before, and all that follow it. It returns
// false if there is more.
func (w *walk) level(i int, owner entity.End) (done bool, err error) {
	s := &w.steps[i]
	typ, err := w.types.of(s.collection)
	if err != nil {
		return false, err
	}
	col, ok, err := storage.ReadCollectionID(w.v, w.app, typ.Collection)
	if err != nil || !ok {
		return true, err
	}
	if s.query == nil {
		return w.single(i, col, owner)
	}
	for {
		rows, next, err := w.page(i, typ, col, owner)
		if err != nil {
			return false, err
		}
		p := &w.places[i]
		for j := range rows {
			at := w.rankOf(i, &rows[j])
			if p.at != (rank{}) {
				if c := at.compare(p.at); c > 0 || c == 0 && p.past {
					continue
				} else if c < 0 {
					clear(w.places[i+1:]) // they were below an entity that is gone
				}
			}
			p.at, p.past = at, false
			if done, err := w.visit(i, col, &rows[j]); err != nil || !done {
				return false, err
			}
			p.past = true
			clear(w.places[i+1:])
			if w.stopped() && j < len(rows)-1 {
				return false, nil
			}
		}
		if *p = (place{cursor: next}); next == "" || w.stopped() {
			return next == "", nil
		}
	}
}

// visit walks what is below an entity, or takes it if it is a device.
func (w *walk) visit(i int, col entity.CollectionID, row *query.Row) (done bool, err error) {
	w.left--
	if i == len(w.steps)-1 {
		if w.wanted(row.Entity.JSON) {
			w.found = append(w.found, row.Entity)
		}
		return true, nil
	}
	return w.level(i+1, entity.End{Collection: col, Seq: row.Entity.Seq})
}

// single walks a step that names an entity.
func (w *walk) single(i int, col entity.CollectionID, owner entity.End) (done bool, err error) {
	e, found, err := storage.ReadEntityByID(w.v, w.app, col, w.steps[i].id)
	if err != nil || !found {
		return true, err
	}
	if i > 0 {
		sub := membershipOf(w.steps[i-1].collection, w.steps[i].collection)
		verb, ok, err := storage.VerbID(w.v, w.app, sub.verb)
		if err != nil || !ok {
			return true, err
		}
		source, target := owner, entity.End{Collection: col, Seq: e.Seq}
		if sub.direction == keys.Inbound {
			source, target = target, source
		}
		if _, ok, err := storage.Connected(w.v, w.app, source, verb, target); err != nil || !ok {
			return true, err
		}
	}
	return w.visit(i, col, &query.Row{Entity: e})
}

// page reads the page of a step at which the walk is. A cursor that holds no longer begins
// the step anew: what comes twice does no harm.
func (w *walk) page(i int, typ *schema.Type, col entity.CollectionID, owner entity.End) ([]query.Row, string, error) {
	s := &w.steps[i]
	req := query.Request{App: w.app, From: sourceOf(col, typ), Query: s.query, Limit: ownersAtOnce, Cursor: w.places[i].cursor}
	if i == len(w.steps)-1 {
		req.Limit = min(w.limit-len(w.found), maxLimit)
	}
	if i > 0 {
		sub := membershipOf(w.steps[i-1].collection, s.collection)
		verb, ok, err := storage.VerbID(w.v, w.app, sub.verb)
		if err != nil || !ok {
			return nil, "", err
		}
		from := req.From
		req.Edges = &query.Edges{
			Near: owner, Direction: sub.direction, Verbs: []entity.VerbID{verb}, Only: col,
			Collection: func(id entity.CollectionID) (query.Collection, bool) { return from, id == col },
		}
	}
	page, err := w.engine.Run(w.ctx, w.v, &req)
	if fault.Is(err, fault.IllegalArgument) && req.Cursor != "" {
		clear(w.places[i:])
		req.Cursor = ""
		page, err = w.engine.Run(w.ctx, w.v, &req)
	}
	if err != nil {
		return nil, "", err
	}
	if s.query.Direct != nil { // they come as they are listed
		slices.SortFunc(page.Rows, func(a, b query.Row) int { return w.rankOf(i, &b).compare(w.rankOf(i, &a)) })
	}
	return page.Rows, page.Cursor, nil
}

func (w *walk) rankOf(i int, row *query.Row) rank {
	r := rank{number: uint64(row.Entity.Seq)}
	if row.Eseq != 0 {
		r.number = uint64(row.Eseq)
	}
	if len(w.steps[i].query.Order) > 0 {
		r.created = row.Entity.Created
	}
	return r
}

// wanted reports whether a device passes the filters: one of their properties has the value
// that they give, or there are none.
func (w *walk) wanted(device []byte) bool {
	if len(w.filters) == 0 || w.filters[0] != '{' {
		return true
	}
	some, passes := false, false
	_ = eachMember(w.filters, func(f member) error {
		some = true
		if value, ok := lastMember(device, f.key); ok && sameValue(value, f.value) {
			passes = true
		}
		return nil
	})
	return passes || !some
}

// sameValue reports whether two JSON values are equal as queries compare them: strings
// without case, numbers by what they are.
func sameValue(a, b []byte) bool {
	if a[0] == '"' && b[0] == '"' {
		return keys.SameFold(strings.TrimSpace(decodeString(a)), strings.TrimSpace(decodeString(b)))
	}
	x, isNumber := entity.ParseNumber(string(a))
	y, isNumberToo := entity.ParseNumber(string(b))
	if isNumber && isNumberToo {
		return x.Compare(y) == 0
	}
	return string(a) == string(b)
}

// Holders returns devices that hold a token in a property, at most limit: those whose value
// is that text, or a push subscription (an object, or the text of one) whose endpoint it is.
func (h *Handlers) Holders(ctx context.Context, v *storage.View, app entity.AppID, property, token string, limit int) ([]entity.Entity, error) {
	typ, err := h.types.of("devices")
	property, token = keys.Fold(property), strings.TrimSpace(token)
	if _, ok := notifierOfToken(property); err != nil || token == "" || !ok {
		return nil, err
	}
	col, ok, err := storage.ReadCollectionID(v, app, typ.Collection)
	if err != nil || !ok {
		return nil, err
	}
	text := entity.Value{Class: entity.StringClass, String: keys.Fold(token)}
	where := &ql.Or{}
	for _, name := range []string{property, property + ".endpoint", registrationOf(property) + ".endpoint"} {
		where.List = append(where.List, &ql.Compare{Property: name, Op: ql.Equal, Value: text})
	}
	req := query.Request{App: app, From: sourceOf(col, typ), Limit: maxLimit, Query: &ql.Query{Where: where}}
	var held []entity.Entity
	for {
		page, err := h.engine.Run(ctx, v, &req)
		if err != nil {
			return nil, err
		}
		for i := range page.Rows {
			value, ok := lastMember(page.Rows[i].Entity.JSON, property)
			if !ok {
				continue
			}
			if shown, ok := shownToken(value); ok && shown == token { // to the letter
				if held = append(held, page.Rows[i].Entity); len(held) == limit {
					return held, nil
				}
			}
		}
		if req.Cursor = page.Cursor; req.Cursor == "" {
			return held, nil
		}
	}
}

// Receipts returns the ids of receipts of a notification, at most limit.
func (h *Handlers) Receipts(ctx context.Context, v *storage.View, app entity.AppID, notification entity.ID, limit int) ([]entity.ID, error) {
	rows, err := h.receiptsBy(ctx, v, app, anyOf("notificationuuid", []entity.ID{notification}), limit)
	return idsOf(rows), err
}

func (h *Handlers) receiptsBy(ctx context.Context, v *storage.View, app entity.AppID, cond ql.Node, limit int) ([]query.Row, error) {
	typ, err := h.types.of("receipts")
	if err != nil {
		return nil, err
	}
	col, ok, err := storage.ReadCollectionID(v, app, typ.Collection)
	if err != nil || !ok {
		return nil, err
	}
	page, err := h.engine.Run(ctx, v, &query.Request{App: app, From: sourceOf(col, typ), Query: &ql.Query{Where: cond}, Limit: min(limit, maxLimit)})
	if err != nil {
		return nil, err
	}
	return page.Rows, nil
}
