package collections

import (
	"slices"

	"github.com/trellisdb/trellis/api/auth"
	"github.com/trellisdb/trellis/api/schema"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/query"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// selected stands in a checked path for a segment that selects several entities. * and
// ** of a permission match it, and no name can be it, since it is not UTF-8: a user may
// be called "all", or like a query.
const selected = "\xff"

// authorize checks the caller's permission on the path as typed and, if that
// grants nothing, on its equivalent spellings: each entity that it names by its UUID
// and by each of its names. A caller without permission does not learn whether an
// entity exists.
func (c *call) authorize() error {
	path, err := c.checked()
	if err != nil {
		return err
	}
	op := auth.OpOf(c.req.Method())
	// What it changes many of at once, a permission for each of them is not enough for.
	whole := len(path) - 1
	if whole == 0 || path[whole] != selected || op&(auth.Put|auth.Delete) == 0 {
		whole = len(path)
	}
	forced := c.typ.Collection == "users" && c.req.HasQuery("force") // then a name may mean somebody else
	if !forced && c.req.Access.May(op, path) && c.req.Access.May(op, path[:whole]) || c.req.Access.Everything() {
		return nil
	}
	if len(path) == 1 {
		return c.req.Access.Refusal()
	}
	granted := false
	err = c.reading(c.req, func(v *storage.View) error {
		places, err := c.places(v, path)
		if err == nil {
			granted = c.req.Access.MayAt(op, places) && (whole == len(path) || c.req.Access.MayAt(op, places[:len(places)-1]))
		}
		return err
	})
	if err == nil && !granted {
		err = c.req.Access.Refusal()
	}
	return err
}

// checked is the path that permissions are compared with: without parameters, a whole
// collection by its name alone.
func (c *call) checked() (path []string, err error) {
	path = slices.Clone(c.seg)
	path[0], _ = cutMatrix(path[0])
	for i := range path[1:] {
		every, _, err := c.selection(path[i+1])
		if err != nil {
			return nil, err
		}
		if path[i+1], _ = cutMatrix(path[i+1]); every {
			path[i+1] = selected
		}
	}
	switch {
	case len(path) > 1 && len(c.own) > 0: // they stand in the place of an entity
		return slices.Insert(path, 1, selected), nil
	case len(path) == 2 && path[1] == selected:
		return path[:1], nil
	}
	return path, nil
}

// places are the places of a checked path of two segments or more, with all the names
// of the entities that it names. What cannot be read as a path stands as it is: it is
// refused where it is answered.
func (c *call) places(v *storage.View, path []string) ([]auth.Place, error) {
	places := auth.Literal(path[:1])
	rest := c.seg[1:] // as it is read, beside path as it is checked
	switch {
	case len(c.own) > 0, path[1] == selected:
		places = append(places, auth.Literal(path[1:2])...)
		rest = c.seg[len(c.seg)-len(path)+2:]
	default:
		t, n, _, err := c.named(v, rest)
		if err != nil || n == 0 {
			return append(places, auth.Literal(path[1:])...), serious(err)
		}
		place, err := c.place(v, &relation{typ: c.typ, target: &t}, path[1:1+n])
		if err != nil {
			return nil, err
		}
		places, rest = append(places, place), rest[n:]
	}
	tail := path[len(path)-len(rest):]
	steps, err := c.relations(v, c.typ, rest)
	if err != nil {
		return append(places, auth.Literal(tail)...), serious(err)
	}
	for i := range steps {
		r := &steps[i]
		named := tail[r.end-r.width : r.end]
		words := auth.Literal(tail[r.begin : r.end-r.width])
		if r.typed { // in the singular and in the plural it is one collection
			last := &words[len(words)-1]
			last.Spellings = append(last.Spellings, []string{r.typ.Collection}, []string{r.typ.Name})
		}
		places = append(places, words...)
		if r.target == nil {
			places = append(places, auth.Literal(named)...)
			continue
		}
		place, err := c.place(v, r, named)
		if err != nil {
			return nil, err
		}
		places = append(places, place)
	}
	return places, nil
}

// serious passes on an error that is not the client's.
func serious(err error) error {
	if code := fault.CodeOf(err); err == nil || code == fault.NotImplemented || wire.Status(code) < 500 {
		return nil
	}
	return err
}

// place is the place of a path in which segments name the target of a step.
func (c *call) place(v *storage.View, r *relation, named []string) (auth.Place, error) {
	row, found, err := c.lookUp(v, r)
	if err != nil {
		return auth.Place{}, err
	}
	typ := r.typ
	if found && typ == nil {
		if typ, err = c.typeOf(v, row.Collection); err != nil {
			return auth.Place{}, err
		}
	}
	var place auth.Place
	if found {
		place = c.placeOf(typ, &row.Entity)
	} else if typ != nil {
		place.User = typ.Collection == "users"
	}
	place.Spellings = append(place.Spellings, named)
	return place, nil
}

// placeOf is the place of a path that an entity has by all its names.
func (c *call) placeOf(typ *schema.Type, e *entity.Entity) auth.Place {
	place := auth.Place{Spellings: [][]string{{e.ID.String()}}, User: typ.Collection == "users"}
	place.Self = place.User && c.req.Principal.Kind == auth.AppUser && c.req.Principal.ID == e.ID
	for _, property := range typ.Aliases {
		name, ok := stringProperty(e.JSON, property)
		switch {
		case !ok:
		case property == "path":
			if path := auth.SplitPath(name); len(path) > 0 {
				place.Spellings = append(place.Spellings, path)
			}
		default:
			place.Spellings = append(place.Spellings, []string{name})
		}
	}
	if place.Self {
		place.Spellings = append(place.Spellings, []string{"me"})
	}
	return place
}

// mayAlso checks a permission beside the one for the path of the request: who changes
// through other entities what principals are, or what they hold, must be allowed to
// change it directly. Nothing else is checked along a path.
func (c *call) mayAlso(op auth.Op, places ...auth.Place) error {
	if c.req.Access.MayAt(op, places) {
		return nil
	}
	return c.req.Access.Refusal()
}

// mayChange checks that the caller may change an entity that is a principal, or a role,
// through a connection or a sub-collection.
func (c *call) mayChange(typ *schema.Type, e *entity.Entity) error {
	if !holds(typ.Collection) {
		return nil
	}
	return c.mayAlso(auth.Put, auth.Literal([]string{typ.Collection})[0], c.placeOf(typ, e))
}

// mayReach checks that the caller may do what he asks of a sub-collection or a dictionary
// of an owner to which a path of several steps leads. row is what it is asked of; nil:
// nothing of it is named.
func (c *call) mayReach(v *storage.View, o *owner, r *relation, row *query.Row) error {
	if r.begin == 0 || c.req.Method() == "GET" {
		return nil
	}
	return c.reaches(v, o, r, row)
}

// reaches is mayReach for a step that is known to be behind others, whatever the method.
func (c *call) reaches(v *storage.View, o *owner, r *relation, row *query.Row) error {
	if c.req.Access.Everything() {
		return nil
	}
	e, found, err := storage.ReadEntity(v, c.req.App.Number, o.end.Collection, o.end.Seq)
	if err != nil {
		return err
	}
	if !found {
		return notFound()
	}
	word := r.shown
	if r.dictionary != "" {
		word = r.dictionary
	}
	places := append(auth.Literal([]string{o.typ.Collection}), c.placeOf(o.typ, &e))
	places = append(places, auth.Literal([]string{word})...)
	if row != nil {
		places = append(places, c.placeOf(r.typ, &row.Entity))
	}
	if r.word != "" {
		places = append(places, auth.Literal([]string{r.word})...)
	}
	return c.mayAlso(auth.OpOf(c.req.Method()), places...)
}
