package collections

import (
	"strings"

	"github.com/trellisdb/trellis/api/schema"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// owner is an entity whose connections a step of a path is about.
type owner struct {
	typ  *schema.Type
	end  entity.End
	id   entity.ID
	path string // "/users/58606d0a-…"
}

// relation is one step of a path after its source: which connections, and which of
// their far ends (spec connections section 1).
type relation struct {
	direction byte
	verb      string // folded; empty: every verb
	shown     string // how the step stands in paths: "likes", "connecting/likes"
	below     string // how it stands in the paths of its entities: "likes", "connecting"
	typ       *schema.Type
	target    *command.Target // one of them; nil: all that params select
	every     bool            // the path says "all", or carries parameters
	own       []param
	indexes   bool // asks for the names of indexed properties
	fixed     bool // followers: what it shows cannot be changed through it
}

// sub-collections and dictionaries of the default types, which are no connections and
// not served by this version (spec collections-and-entities section 10).
var declared = map[string][]string{
	"users":         {"activities", "devices", "feed", "groups", "roles", "permissions", "rolenames", "password", "token", "revoketokens", "revoketoken", "sendpin", "setpin", "file"},
	"groups":        {"activities", "feed", "roles", "users", "permissions", "rolenames"},
	"roles":         {"users", "groups", "permissions"},
	"devices":       {"users", "receipts"},
	"notifications": {"receipts", "queue"},
}

// relations reads a path after its source, step by step. Whether a segment after a
// type names an entity or a verb depends on whether there is such an entity: the one
// before the last step may be asked for by name.
func (c *call) relations(v *storage.View, source *schema.Type, segments []string) ([]relation, error) {
	var steps []relation
	for len(segments) > 0 {
		if len(steps) == maxSteps {
			return nil, fault.New(fault.IllegalArgument, "a path has at most %d steps", maxSteps)
		}
		step, rest, err := c.relation(v, source, segments)
		if err != nil {
			return nil, err
		}
		steps, segments = append(steps, step), rest
		source = step.typ // nil if it is not known: then every word is a verb
	}
	return steps, nil
}

// maxSteps bounds how far a path leads.
const maxSteps = 8

func (c *call) relation(v *storage.View, source *schema.Type, segments []string) (r relation, rest []string, err error) {
	name, own := cutMatrix(segments[0])
	r = relation{direction: keys.Outbound, own: own, every: own != nil}
	word := keys.Fold(name)
	if source != nil && contains(declared[source.Collection], word) {
		return r, nil, notOffered(source.Collection + " " + word)
	}
	segments = segments[1:]
	switch {
	case word == "connections" || word == "connected":
		r.shown, r.below = "connections", "connections"
	case word == "connecting":
		r.direction, r.shown, r.below = keys.Inbound, "connecting", "connecting"
	case word == "followers" && source != nil && source.Collection == "users":
		r.direction, r.verb, r.shown, r.below, r.fixed = keys.Inbound, "following", word, word, true
		return c.targets(v, r, segments)
	default:
		r.verb, r.shown, r.below = word, word, word
		return c.targets(v, r, segments)
	}
	if len(segments) == 0 {
		return r, nil, nil
	}
	if _, isID := entity.ParseID(segments[0]); isID || strings.EqualFold(segments[0], "indexes") {
		return c.targets(v, r, segments)
	}
	verb, own := cutMatrix(segments[0])
	r.verb = keys.Fold(verb)
	r.own, r.every = append(own, r.own...), r.every || own != nil
	r.shown += "/" + r.verb
	if r.direction == keys.Outbound {
		r.shown, r.below = r.verb, r.verb
	}
	return c.targets(v, r, segments[1:])
}

// targets reads what follows a verb: a UUID, a type, or a type and an entity of it.
func (c *call) targets(v *storage.View, r relation, segments []string) (relation, []string, error) {
	if len(r.verb) > maxVerb || r.verb != strings.TrimSpace(r.verb) {
		return r, nil, fault.New(fault.IllegalArgument, "a verb has at most %d bytes, and no white space around it", maxVerb)
	}
	if len(segments) == 0 {
		return r, nil, nil
	}
	if done, err := c.chosen(&r, segments[0]); done || err != nil {
		return r, segments[1:], err
	}
	name, own := cutMatrix(segments[0])
	r.own, r.every = append(own, r.own...), r.every || own != nil
	switch {
	case strings.EqualFold(name, "indexes") && len(segments) == 1:
		r.indexes = true
		return r, nil, nil
	case strings.EqualFold(name, "any"):
	default:
		typ, err := c.types.of(name)
		if err != nil {
			return r, nil, err
		}
		if r.verb == "following" && typ.Collection != "users" && len(segments) == 1 {
			if followed, ok, err := c.userCalled(v, name); err != nil || ok {
				r.typ, r.target = followed, &command.Target{Aliases: []command.Alias{{Property: "username", Value: name}}}
				return r, nil, err
			}
		}
		r.typ = typ
	}
	return c.entityOf(v, r, segments[1:])
}

// chosen reads a segment that names an entity by its UUID, or selects several; done is
// false if it does neither.
func (c *call) chosen(r *relation, segment string) (done bool, err error) {
	if id, ok := entity.ParseID(segment); ok {
		r.target = &command.Target{ID: id}
		return true, nil
	}
	every, own, err := c.selection(segment)
	if every {
		r.every, r.own = true, append(own, r.own...)
	}
	return every, err
}

// userCalled returns the type of users if there is one of this name: documents of old
// show "following/barney" (spec connections section 1).
func (c *call) userCalled(v *storage.View, name string) (*schema.Type, bool, error) {
	users, err := c.types.of("users")
	if err != nil {
		return nil, false, err
	}
	col, ok, err := storage.ReadCollectionID(v, c.req.App.Number, users.Collection)
	if err != nil || !ok {
		return users, false, err
	}
	_, found, err := storage.ReadEntityByAlias(v, c.req.App.Number, col, "username", name)
	return users, found, err
}

// entityOf reads what follows a type.
func (c *call) entityOf(v *storage.View, r relation, segments []string) (relation, []string, error) {
	if len(segments) == 0 {
		return r, nil, nil
	}
	if done, err := c.chosen(&r, segments[0]); done || err != nil {
		return r, segments[1:], err
	}
	if r.typ == nil {
		return r, segments, nil // any: nothing is known by name, the next word is a verb
	}
	of := c.of(r.typ)
	t, err := of.target(segments[0])
	if err != nil {
		return r, nil, err
	}
	if len(segments) > 1 { // else it can only be the name of an entity
		_, found, err := of.find(v, &t)
		if err != nil {
			return r, nil, err
		}
		if !found {
			return r, segments, nil
		}
	}
	r.target = &t
	return r, segments[1:], nil
}

// maxVerb bounds the name of a verb, in bytes: it is part of keys.
const maxVerb = 256

// of is the call as if it were about another collection.
func (c *call) of(typ *schema.Type) *call {
	return &call{Handlers: c.Handlers, req: c.req, typ: typ, path: "/" + typ.Collection}
}
