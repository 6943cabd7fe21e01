package collections

import (
	"slices"

	"github.com/trellisdb/trellis/api/auth"
	"github.com/trellisdb/trellis/storage/entity"
)

// selected stands in a checked path for a segment that selects several entities. * and
// ** of a permission match it, and no name can be it, since it is not UTF-8: a user may
// be called "all", or like a query.
const selected = "\xff"

// authorize checks the caller's permission on the path as typed and, if that
// grants nothing, on its equivalent spellings: the entity by its UUID and by
// each of its names. A caller without permission does not learn whether the
// entity exists.
func (c *call) authorize() error {
	op := auth.OpOf(c.req.Method())
	path, named, err := c.checked()
	if err != nil {
		return err
	}
	refused := c.req.Access.Check(op, path)
	if last := len(path) - 1; refused == nil && last > 0 && path[last] == selected && op&(auth.Put|auth.Delete) != 0 {
		// It changes many at once: a permission for each of them is not enough.
		refused = c.req.Access.Check(op, path[:last])
	}
	if refused == nil || !named {
		return refused
	}
	t, err := c.target(path[1])
	if err != nil {
		return refused
	}
	e, found, err := c.lookup(&t)
	if err != nil {
		return err
	}
	if !found {
		return refused
	}
	if c.req.Access.May(op, c.spellings(path, &e)...) {
		return nil
	}
	return refused
}

// checked is the path that permissions are compared with: without parameters, a whole
// collection by its name alone. named reports whether its second segment names an entity.
func (c *call) checked() (path []string, named bool, err error) {
	path = slices.Clone(c.req.Segments())
	path[0], _ = cutMatrix(path[0])
	for i := range path[1:] {
		every, _, err := c.selection(path[i+1])
		if err != nil {
			return nil, false, err
		}
		if path[i+1], _ = cutMatrix(path[i+1]); every {
			path[i+1] = selected
		}
	}
	switch {
	case len(path) > 1 && len(c.own) > 0: // they stand in the place of an entity
		return slices.Insert(path, 1, selected), false, nil
	case len(path) == 2 && path[1] == selected:
		return path[:1], false, nil
	}
	return path, len(path) > 1 && path[1] != selected, nil
}

// spellings are the equivalent paths of one that names e in its second segment.
func (c *call) spellings(path []string, e *entity.Entity) [][]string {
	names := []string{e.ID.String()}
	for _, property := range c.typ.Aliases {
		if s, ok := stringProperty(e.JSON, property); ok {
			names = append(names, s)
		}
	}
	paths := make([][]string, len(names))
	for i, name := range names {
		paths[i] = append([]string{path[0], name}, path[2:]...)
	}
	return paths
}
