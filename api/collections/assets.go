package collections

import (
	"strings"

	"github.com/trellisdb/trellis/api/assets"
	"github.com/trellisdb/trellis/api/schema"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// WithAssets lets entities have binary data, which the store keeps. It returns h.
func (h *Handlers) WithAssets(store *assets.Store) *Handlers {
	h.assets = store
	return h
}

// dataWord ends the path of the data of an asset.
const dataWord = "data"

// byPath reports whether entities of a type are known by a path of several segments.
func byPath(t *schema.Type) bool {
	return t.Collection == "groups" || isFiled(t)
}

// isFiled reports whether a type is one of what lies in folders, or of folders: their paths
// may begin with a slash, which makes no difference when one is looked for.
func isFiled(t *schema.Type) bool { return t.Collection == "assets" || t.Collection == "folders" }

// asAssets reads the word "file" for assets: as a collection, or at the end of a path as
// what is connected to an entity (spec assets-events-counters section 1).
func asAssets(segments []string) []string {
	last := len(segments) - 1
	switch {
	case strings.EqualFold(segments[0], "file"):
		segments = append([]string{"assets"}, segments[1:]...)
	case last > 1 && strings.EqualFold(segments[last], "file"):
		segments = append(append([]string(nil), segments[:last]...), "assets")
	}
	return segments
}

// cutData takes the word that asks for the data of an asset off a path.
func (c *call) cutData() {
	last := len(c.seg) - 1
	if c.typ.Collection == "assets" && last > 1 && strings.EqualFold(c.seg[last], dataWord) {
		c.seg, c.data = c.seg[:last], true
	}
}

// pathTarget names the entity of the call's collection that has a path.
func (c *call) pathTarget(path string) command.Target {
	t := command.Target{Aliases: []command.Alias{{Property: "path", Value: path}}}
	if isFiled(c.typ) && path != "" {
		t.Aliases = append([]command.Alias{{Property: "path", Value: "/" + path}}, t.Aliases...)
	}
	return t
}

// filed applies the rules of assets and folders to a document: the path is stored as it
// was sent, but for slashes too many, and the owner is a UUID. t is what is changed, nil of
// what is new.
func (c *call) filed(doc *document, t *command.Target) error {
	if doc.has("owner") {
		if _, ok := uuidOf(doc.properties[doc.find("owner")].value); !ok {
			return fault.New(fault.PropertyTypeConversion, "the owner of %s must be a UUID", c.typ.Collection)
		}
	}
	if !doc.has("path") {
		return nil
	}
	sent, _ := doc.text("path")
	clean := cleanPath(sent)
	if clean == "" {
		return fault.New(fault.IllegalArgument, "the path of %s must have a name", c.typ.Collection)
	}
	path, other := clean, "/"+clean
	if strings.HasPrefix(strings.TrimSpace(sent), "/") {
		path, other = other, path
	}
	if path != sent {
		if err := doc.setString("path", path); err != nil {
			return err
		}
	}
	return c.alone(other, t)
}

// alone makes sure that no other entity has a path that differs by the slash before it
// alone: it would be found by the same path.
func (c *call) alone(path string, t *command.Target) error {
	e, found, err := c.lookup(&command.Target{Aliases: []command.Alias{{Property: "path", Value: path}}})
	if err != nil || !found {
		return err
	}
	if t != nil {
		if self, known, err := c.lookup(t); err != nil || known && self.ID == e.ID {
			return err
		}
	}
	return fault.New(fault.Duplicate, "Entity %q requires that property named %q be unique, value of %s exists", c.typ.Name, "path", path)
}

// samePath reports whether two paths of entities of a type are one.
func samePath(t *schema.Type, a, b string) bool {
	return isFiled(t) && keys.SameFold(cleanPath(a), cleanPath(b))
}
