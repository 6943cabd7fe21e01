package collections

import (
	"slices"
	"strings"

	"github.com/trellisdb/trellis/api/auth"
	"github.com/trellisdb/trellis/api/inflect"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/query/ql"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// pathToken is one step of the target of a notification: an entity of a collection, or
// those that a query selects.
type pathToken struct {
	Collection string          `json:"collection"`
	Identifier *pathIdentifier `json:"identifier,omitempty"`
	Query      string          `json:"query"` // without an identifier; empty: all
}

type pathIdentifier struct {
	Type  string `json:"type"`
	Value string `json:"value"` // a UUID
}

// appendPathQuery appends the stored form of a target.
func appendPathQuery(dst []byte, target []pathToken) []byte {
	dst = append(dst, `{"pathTokens":[`...)
	for i := range target {
		t := &target[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = wire.AppendString(append(dst, `{"collection":`...), t.Collection)
		if t.Identifier != nil {
			dst = wire.AppendString(append(dst, `,"identifier":{"type":"UUID","value":`...), t.Identifier.Value)
			dst = append(dst, '}')
		} else {
			dst = wire.AppendString(append(dst, `,"query":`...), t.Query)
		}
		dst = append(dst, '}')
	}
	return append(dst, `]}`...)
}

// asksIn reports whether a step of a target has a query.
func asksIn(target []pathToken) bool {
	return slices.ContainsFunc(target, func(t pathToken) bool { return t.Query != "" })
}

// selecting is the step of a target that parameters select. Of these only the query
// counts: every match is meant.
func selecting(collection string, p *params) (pathToken, error) {
	q, err := p.query()
	if err != nil && strings.Contains(p.text(), "+") { // for a space, in a path too
		spaced := *p
		spaced.own = slices.Clone(p.own)
		for i := range spaced.own {
			spaced.own[i].value = strings.ReplaceAll(spaced.own[i].value, "+", " ")
		}
		if again, spacedErr := spaced.query(); spacedErr == nil {
			q, p, err = again, &spaced, nil
		}
	}
	if err != nil {
		return pathToken{}, err
	}
	token := pathToken{Collection: collection}
	switch {
	case len(p.all("filter")) > 0:
		token.Query = (&ql.Query{Where: q.Where, Direct: q.Direct}).String()
	case q.Where != nil || q.Direct != nil:
		token.Query = strings.TrimSpace(p.text())
	}
	if len(token.Query) > maxTargetQuery {
		return pathToken{}, fault.New(fault.IllegalArgument, "the query of a target is longer than %d bytes", maxTargetQuery)
	}
	return token, nil
}

// maxTargetQuery bounds the query of a step of a target, in bytes.
const maxTargetQuery = 16 << 10

// leadsTo says which collections a step of a target can lead on to.
var leadsTo = map[string][]string{"groups": {"users"}, "users": {"devices"}}

// notifyPath answers POST to a path that ends in notifications; done is false if it is
// the path of no target.
func (c *call) notifyPath() (*wire.Reply, bool, error) {
	var target []pathToken
	var path string
	var is bool
	err := c.upToDate(c.req, func(v *storage.View) (err error) {
		target, path, is, err = c.audience(v)
		return err
	})
	if err != nil || !is {
		return nil, is, err
	}
	if len(c.seg) == 2 && len(c.own) == 0 { // /devices/notifications
		if err := c.mayBroadcast(); err != nil {
			return nil, true, err
		}
	}
	reply, err := c.notify(target, path+"/notifications")
	return reply, true, err
}

// audience reads the target that the path names before its last segment, and finds the
// entities that it names; is tells whether the path is that of a target.
func (c *call) audience(v *storage.View) (target []pathToken, path string, is bool, err error) {
	collection := c.typ.Collection
	rest := c.seg[:len(c.seg)-1]
	var owner *entity.End
	for {
		typ, err := c.types.of(collection)
		if err != nil {
			return nil, "", false, err
		}
		of := c.of(typ)
		token, after, named, err := of.audienceStep(rest, len(target) == 0)
		if err != nil || token == nil {
			return nil, "", token != nil, err
		}
		path += "/" + collection
		if named != "" {
			e, end, err := of.audienceEntity(v, named, owner)
			if err != nil {
				return nil, "", true, err
			}
			token.Identifier = &pathIdentifier{Type: "UUID", Value: e.ID.String()}
			path += "/" + token.Identifier.Value
			owner = end
		} else {
			owner = nil
		}
		target, rest = append(target, *token), after
		if len(rest) == 0 {
			return target, path, true, nil
		}
		word, _ := cutMatrix(rest[0])
		next := inflect.Collection(word)
		if !contains(leadsTo[collection], next) {
			return nil, "", false, nil
		}
		collection = next
	}
}

// audienceStep reads one step: the name of a collection, and what follows it. named is the
// segment that names one entity, empty if the step selects. A nil token: it is none of a
// target.
func (c *call) audienceStep(segments []string, first bool) (token *pathToken, rest []string, named string, err error) {
	_, own := cutMatrix(segments[0])
	rest = segments[1:]
	selects := own != nil
	if len(rest) > 0 {
		every, more, err := c.selection(rest[0])
		switch {
		case err != nil:
			return nil, nil, "", err
		case every:
			own, rest, selects = append(more, own...), rest[1:], true
			own = slices.Clip(own)
		case !selects:
			return &pathToken{Collection: c.typ.Collection}, rest[1:], rest[0], nil
		}
	}
	if !selects && first && c.typ.Collection != "devices" {
		return nil, nil, "", nil // "notifications" is the name of a user or a group
	}
	t, err := selecting(c.typ.Collection, &params{own: own})
	return &t, rest, "", err
}

// audienceEntity finds an entity that a target names: below another it must be one of its.
func (c *call) audienceEntity(v *storage.View, segment string, owner *entity.End) (entity.Entity, *entity.End, error) {
	t, err := c.target(segment)
	if err != nil {
		return entity.Entity{}, nil, err
	}
	if c.typ.Collection == "groups" && t.ID.IsZero() {
		if t, _, _, err = c.pathNamed(v, []string{segment}); err != nil {
			return entity.Entity{}, nil, err
		}
	}
	e, found, err := c.find(v, &t)
	if err != nil {
		return e, nil, err
	}
	col, _, err := storage.ReadCollectionID(v, c.req.App.Number, c.typ.Collection)
	if err != nil {
		return e, nil, err
	}
	end := &entity.End{Collection: col, Seq: e.Seq}
	if found && owner != nil {
		found, err = c.belongs(v, *owner, *end)
	}
	if err == nil && !found {
		err = notFound()
	}
	return e, end, err
}

// belongs reports whether a user, the call's collection says, is a member of a group, or a
// device one of a user's.
func (c *call) belongs(v *storage.View, owner, end entity.End) (bool, error) {
	name, source, target := entity.VerbDevices, owner, end
	if c.typ.Collection == "users" {
		name, source, target = entity.VerbGroups, end, owner
	}
	verb, ok, err := storage.VerbID(v, c.req.App.Number, name)
	if err != nil || !ok {
		return false, err
	}
	_, ok, err = storage.Connected(v, c.req.App.Number, source, verb, target)
	return ok, err
}

// anyDevice stands in a checked path for the name of a device. No device has it, so what
// permits it permits every device by itself.
const anyDevice = "\xfe"

// mayBroadcast checks the permission to notify devices without naming them, by the path
// /devices/notifications: it must be given for this path or for all devices' notifications.
// That for every device by itself, which reads alike, is none.
func (c *call) mayBroadcast() error {
	may := func(path ...string) bool { return c.req.Access.May(auth.Post, path) }
	switch {
	case c.req.Access.Everything(),
		may("devices", selected, "notifications"),
		may("devices", "notifications") && !may("devices", anyDevice):
		return nil
	}
	return c.req.Access.Refusal()
}
