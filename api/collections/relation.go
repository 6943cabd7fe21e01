package collections

import (
	"strings"

	"github.com/trellisdb/trellis/api/inflect"
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

	sub        *membership // it is a sub-collection, not a connection
	list       byte        // it is a list of activities: keys.Outbox or keys.Feed
	group      *owner      // of an outbox: the group inside which the path names its user; nil: none
	dictionary string      // it is one of the dictionaries of its source
	word       string      // what follows the name of a dictionary; empty: nothing does

	// Where it stands in the path: its segments are those from begin to end, of which
	// the last width name target or select; typed says that the type, or the
	// sub-collection, stands before them.
	begin, end, width int
	typed             bool
}

// unserved are sub-collections of the default types, which are no connections and not
// served by this version (spec collections-and-entities section 10).
var unserved = map[string][]string{
	"devices":       {"receipts"},
	"notifications": {"receipts", "queue"},
}

// commands are what an app user can be told to do. They end a path, and stand directly
// after the user.
var commands = []string{"password", "token", "revoketokens", "revoketoken", "sendpin", "setpin", "deactivate", "credentials"}

// dictionaryOf returns the dictionary of entities of a collection that a word names;
// empty if it is none.
func dictionaryOf(collection, word string) string {
	switch {
	case word == "permissions" && holds(collection), word == "rolenames" && (collection == "users" || collection == "groups"):
		return word
	}
	return ""
}

// holds reports whether entities of a collection hold permissions.
func holds(collection string) bool {
	return collection == "users" || collection == "groups" || collection == "roles"
}

// relations reads a path after its source, step by step. Whether a segment after a
// type names an entity or a verb depends on whether there is such an entity: the one
// before the last step may be asked for by name.
func (c *call) relations(v *storage.View, source *schema.Type, segments []string) ([]relation, error) {
	var steps []relation
	for all := len(segments); len(segments) > 0; {
		if len(steps) == maxSteps {
			return nil, fault.New(fault.IllegalArgument, "a path has at most %d steps", maxSteps)
		}
		step, rest, err := c.relation(v, source, segments)
		if err != nil {
			return nil, err
		}
		step.begin, step.end = all-len(segments), all-len(rest)
		steps, segments = append(steps, step), rest
		if len(rest) > 0 {
			if source, err = c.farType(v, &step); err != nil {
				return nil, err
			}
		}
	}
	return steps, nil
}

// farType is the type of the far ends of a step; nil if it is not known: then every word
// that follows is a verb.
func (c *call) farType(v *storage.View, r *relation) (*schema.Type, error) {
	if r.typ != nil || r.target == nil {
		return r.typ, nil
	}
	name, _, found, err := storage.Locate(v, c.req.App.Number, r.target.ID)
	if err != nil || !found {
		return nil, err
	}
	return c.types.of(name)
}

// maxSteps bounds how far a path leads.
const maxSteps = 8

func (c *call) relation(v *storage.View, source *schema.Type, segments []string) (r relation, rest []string, err error) {
	name, own := cutMatrix(segments[0])
	r = relation{direction: keys.Outbound, own: own, every: own != nil}
	word := keys.Fold(name)
	segments = segments[1:]
	if source != nil {
		if done, rest, err := c.declared(v, &r, source, word, segments); done || err != nil {
			return r, rest, err
		}
	}
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

// declared reads a step that the type of its source declares, which is no connection;
// done is false if it declares none of this name.
func (c *call) declared(v *storage.View, r *relation, source *schema.Type, word string, segments []string) (done bool, rest []string, err error) {
	if r.dictionary = dictionaryOf(source.Collection, word); r.dictionary != "" {
		most := 0
		if word == "rolenames" {
			most = 1
		}
		if len(segments) > most {
			return false, nil, notFound()
		}
		if len(segments) > 0 {
			r.word = segments[0]
		}
		return true, nil, nil
	}
	collection := inflect.Collection(word)
	switch {
	case source.Collection == "users" && contains(commands, word):
		return false, nil, fault.New(fault.UnsupportedAction, "%s is asked for directly after a user", word)
	case contains(unserved[source.Collection], collection), contains(unserved[source.Collection], word):
		return false, nil, notOffered(source.Collection + " " + word)
	}
	if list := listOf(source.Collection, word); list != 0 {
		rest, err = c.listed(r, list, segments)
		return true, rest, err
	}
	if r.sub = membershipOf(source.Collection, collection); r.sub == nil {
		return false, nil, nil
	}
	r.direction, r.verb, r.shown, r.below, r.typed = r.sub.direction, r.sub.verb, r.sub.word, r.sub.word, true
	if r.typ, err = c.types.of(r.sub.far); err != nil {
		return false, nil, err
	}
	if len(segments) == 1 && strings.EqualFold(segments[0], "indexes") {
		r.indexes, r.typed = true, false
		return true, nil, nil
	}
	*r, rest, err = c.entityOf(v, *r, segments)
	return true, rest, err
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
				r.typ, r.width, r.target = followed, 1, &command.Target{Aliases: []command.Alias{{Property: "username", Value: name}}}
				return r, nil, err
			}
		}
		r.typ, r.typed = typ, true
	}
	return c.entityOf(v, r, segments[1:])
}

// chosen reads a segment that names an entity by its UUID, or selects several; done is
// false if it does neither.
func (c *call) chosen(r *relation, segment string) (done bool, err error) {
	if id, ok := entity.ParseID(segment); ok {
		r.target, r.width = &command.Target{ID: id}, 1
		return true, nil
	}
	every, own, err := c.selection(segment)
	if every {
		r.every, r.own, r.width = true, append(own, r.own...), 1
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
	t, n, found, err := of.named(v, segments)
	if err != nil {
		return r, nil, err
	}
	if !found && n < len(segments) { // the next word is a verb
		if r.sub != nil && c.req.Method() != "GET" {
			return r, nil, notFound() // nothing is changed by a mistyped name
		}
		return r, segments, nil
	}
	r.target, r.width = &t, n
	return r, segments[n:], nil
}

// named finds the entity of the call's collection that the first of some segments name,
// and how many segments that are. If there is none, n is how many could.
func (c *call) named(v *storage.View, segments []string) (t command.Target, n int, found bool, err error) {
	if byPath(c.typ) {
		if t, n, found, err = c.pathNamed(v, segments); n > 0 || err != nil {
			return t, n, found, err
		}
	}
	if t, err = c.target(segments[0]); err != nil || len(segments) == 1 {
		return t, 1, false, err // it can only be the name of an entity
	}
	_, found, err = c.find(v, &t)
	return t, 1, found, err
}

// maxVerb bounds the name of a verb, in bytes: it is part of keys.
const maxVerb = 256

// of is the call as if it were about another collection.
func (c *call) of(typ *schema.Type) *call {
	return &call{Handlers: c.Handlers, req: c.req, typ: typ, path: "/" + typ.Collection, seg: c.seg, tokens: c.tokens}
}
