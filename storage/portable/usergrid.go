package portable

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// maxEdges is how many edges one object of Usergrid may have.
const maxEdges = 100_000

// parseUsergrid reads one object of an export of Usergrid: an entity under "Metadata",
// with its connections and dictionaries beside it; or an entity by itself; or a
// connection, with sourceUuid, connectionType and targetUuid.
func parseUsergrid(raw []byte) (*Line, error) {
	if !utf8.Valid(raw) {
		return nil, fault.New(fault.JSONParse, "not UTF-8")
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(raw, &object); err != nil {
		return nil, fault.Wrap(err, fault.JSONParse, "not JSON: %.200s", err.Error())
	}
	if verb, ok := textIn(object, "connectionType"); ok && object["targetUuid"] != nil {
		source, okSource := idIn(object, "sourceUuid")
		target, okTarget := idIn(object, "targetUuid")
		if !okSource || !okTarget {
			return nil, fault.New(fault.IllegalArgument, "a connection does not name its two entities")
		}
		return &Line{Kind: KindEdge, Edges: []Edge{{Source: EdgeEnd{ID: source}, Target: EdgeEnd{ID: target}, Verb: verb}}}, nil
	}
	data, beside := raw, map[string]json.RawMessage(nil)
	if inner, ok := object["Metadata"]; ok && object["uuid"] == nil {
		var within map[string]json.RawMessage
		if json.Unmarshal(inner, &within) != nil {
			return nil, fault.New(fault.IllegalArgument, "Metadata is not an object")
		}
		data, beside, object = inner, object, within
	}
	e := &Entity{JSON: data}
	var ok bool
	if e.ID, ok = idIn(object, "uuid"); !ok {
		return nil, fault.New(fault.IllegalArgument, "an entity has no valid uuid")
	}
	if e.Collection, ok = textIn(object, "type"); !ok {
		return nil, fault.New(fault.IllegalArgument, "entity %s has no type", e.ID)
	}
	e.Created, e.Modified = timeIn(object, "created"), timeIn(object, "modified")
	line := &Line{Kind: KindEntity, Entity: e}
	return line, line.relations(beside)
}

// relations reads what stands beside an entity: connections by verb, memberships by
// sub-collection, and of the dictionaries permissions and names of roles.
func (l *Line) relations(beside map[string]json.RawMessage) error {
	self := EdgeEnd{Collection: l.Entity.Collection, ID: l.Entity.ID}
	err := eachList(beside["connections"], func(verb string, id entity.ID) {
		l.Edges = append(l.Edges, Edge{Source: self, Target: EdgeEnd{ID: id}, Verb: verb})
	})
	if err == nil {
		err = eachList(beside["collections"], func(name string, id entity.ID) {
			if e, ok := membership(self, strings.ToLower(name), id); ok {
				l.Edges = append(l.Edges, e)
			}
		})
	}
	if err != nil {
		return fault.New(fault.IllegalArgument, "the connections of entity %s are malformed", l.Entity.ID)
	}
	if len(l.Edges) > maxEdges {
		return fault.New(fault.IllegalArgument, "entity %s has more than %d connections", l.Entity.ID, maxEdges)
	}
	var dictionaries map[string]json.RawMessage
	if len(beside["dictionaries"]) > 0 && json.Unmarshal(beside["dictionaries"], &dictionaries) != nil {
		return fault.New(fault.IllegalArgument, "the dictionaries of entity %s are malformed", l.Entity.ID)
	}
	l.Entity.Permissions = keysOf(dictionaries["permissions"])
	for _, name := range keysOf(dictionaries["rolenames"]) {
		l.Edges = append(l.Edges, Edge{Source: self, Target: EdgeEnd{Collection: "roles", Name: name}, Verb: "roles", Member: true})
	}
	return nil
}

// membership is the edge that a member of a sub-collection of Usergrid stands for.
func membership(self EdgeEnd, name string, id entity.ID) (Edge, bool) {
	other := EdgeEnd{Collection: name, ID: id}
	switch owner := strings.TrimSuffix(strings.ToLower(self.Collection), "s"); {
	case owner == "user" && (name == "groups" || name == "roles" || name == "devices"), owner == "group" && name == "roles":
		return Edge{Source: self, Target: other, Verb: name, Member: true}, true
	case owner == "group" && name == "users":
		return Edge{Source: other, Target: self, Verb: "groups", Member: true}, true
	case owner == "role" && (name == "users" || name == "groups"):
		return Edge{Source: other, Target: self, Verb: "roles", Member: true}, true
	}
	return Edge{}, false
}

// eachList calls each with every id of an object of lists of ids.
func eachList(raw json.RawMessage, each func(name string, id entity.ID)) error {
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	var lists map[string][]string
	if err := json.Unmarshal(raw, &lists); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(lists)) {
		for _, text := range lists[name] {
			id, ok := entity.ParseID(text)
			if !ok {
				return fault.New(fault.IllegalArgument, "%.60q is no uuid", text)
			}
			each(name, id)
		}
	}
	return nil
}

// keysOf returns the names in a dictionary, or the texts of a list, in order; nil if it
// is neither.
func keysOf(raw json.RawMessage) []string {
	var set map[string]json.RawMessage
	if json.Unmarshal(raw, &set) == nil {
		return slices.Sorted(maps.Keys(set))
	}
	var list []string
	if json.Unmarshal(raw, &list) == nil {
		return list
	}
	return nil
}

func textIn(object map[string]json.RawMessage, name string) (string, bool) {
	var s string
	return s, json.Unmarshal(object[name], &s) == nil && s != ""
}

func idIn(object map[string]json.RawMessage, name string) (entity.ID, bool) {
	s, _ := textIn(object, name)
	id, ok := entity.ParseID(s)
	return id, ok && !id.IsZero()
}

func timeIn(object map[string]json.RawMessage, name string) int64 {
	var n int64
	if json.Unmarshal(object[name], &n) != nil {
		return 0
	}
	return n
}
