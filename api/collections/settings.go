package collections

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/trellisdb/trellis/api/auth"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// administers refuses a caller who may not do everything in the application.
func (c *call) administers() error {
	if c.req.Access.Everything() {
		return nil
	}
	return fault.New(fault.Unauthorized, "No application access authorized")
}

// settings answers requests about what a collection indexes (spec
// collections-and-entities section 11).
func (c *call) settings() (*wire.Reply, error) {
	if err := c.administers(); err != nil {
		return nil, err
	}
	switch c.req.Method() {
	case "GET":
	case "DELETE":
		op := command.ClearSettings{Collection: c.typ.Collection, Task: entity.NewID()}
		if _, err := c.propose(c.req, op); err != nil {
			return nil, err
		}
		return c.reply(nil)
	default:
		op, err := c.settingsOf()
		if err != nil {
			return nil, err
		}
		if _, err := c.propose(c.req, op); err != nil {
			return nil, err
		}
	}
	reply := c.req.Entities(c.path)
	err := c.upToDate(c.req, func(v *storage.View) error {
		shown, err := c.shownSettings(v)
		if err == nil && shown != nil {
			reply.Field("data", shown)
		}
		return err
	})
	return reply, err
}

// settingsOf reads a body of settings.
func (c *call) settingsOf() (op command.PutSettings, err error) {
	text, err := c.jsonBody()
	if err != nil {
		return op, err
	}
	switch {
	case text == nil:
		return op, fault.New(fault.NullArgument, "settings are required")
	case text[skipSpace(text, 0)] != '{':
		return op, fault.New(fault.JSONMapping, "settings must be a JSON object")
	}
	var body struct {
		Fields              *json.RawMessage `json:"fields"`
		Indexes             *[][]string      `json:"indexes"`
		QueueIndex          *string          `json:"queueIndex"`
		IndexConsistency    *string          `json:"indexConsistency"`
		AuthoritativeRegion *string          `json:"authoritativeRegion"`
		Region              *string          `json:"region"`
	}
	if err := json.Unmarshal(text, &body); err != nil {
		return op, fault.New(fault.IllegalArgument, "settings are malformed: fields is \"all\", \"none\" or an array of properties, indexes an array of arrays of \"property [asc|desc]\"")
	}
	op = command.PutSettings{Collection: c.typ.Collection, Task: entity.NewID(), Replace: !strings.EqualFold(c.req.Query("replace_all"), "false"), By: c.who()}
	if body.Fields != nil {
		if op.Fields, err = c.fieldsOf(*body.Fields); err != nil {
			return op, err
		}
	}
	if body.Indexes != nil {
		if op.Composites, err = compositesOf(*body.Indexes); err != nil {
			return op, err
		}
	}
	op.QueueIndex = oneOf(body.QueueIndex, "config", "async", "direct")
	op.IndexConsistency = oneOf(body.IndexConsistency, "strict", "latest")
	if op.Region = body.AuthoritativeRegion; op.Region == nil {
		op.Region = body.Region
	}
	if op.Region != nil && *op.Region != "" {
		return op, fault.New(fault.NullArgument, "there is no region %.100q", *op.Region)
	}
	return op, nil
}

// oneOf returns a value if it is one of those allowed, else the first of them.
func oneOf(value *string, allowed ...string) *string {
	if value != nil && !slices.Contains(allowed, *value) {
		return &allowed[0]
	}
	return value
}

func (c *call) fieldsOf(raw json.RawMessage) (*command.Fields, error) {
	var word string
	var list []string
	switch {
	case json.Unmarshal(raw, &word) == nil && strings.EqualFold(word, "all"):
		return &command.Fields{All: true}, nil
	case json.Unmarshal(raw, &word) == nil && strings.EqualFold(word, "none"):
		return &command.Fields{None: true}, nil
	case json.Unmarshal(raw, &list) == nil:
		return &command.Fields{List: list, Declared: c.typ.Declared()}, nil
	}
	return nil, fault.New(fault.IllegalArgument, "fields is \"all\", \"none\" or an array of properties")
}

// compositesOf reads declarations of composite indexes.
func compositesOf(declared [][]string) (*[][]entity.CompositeKey, error) {
	all := make([][]entity.CompositeKey, 0, len(declared))
	if len(declared) > entity.MaxComposites {
		return nil, fault.New(fault.IllegalArgument, "a collection has at most %d composite indexes", entity.MaxComposites)
	}
	for _, properties := range declared {
		var composite []entity.CompositeKey
		for _, text := range properties {
			words := strings.Fields(text)
			key := entity.CompositeKey{}
			switch {
			case len(words) == 1, len(words) == 2 && strings.EqualFold(words[1], "asc"):
			case len(words) == 2 && strings.EqualFold(words[1], "desc"):
				key.Desc = true
			default:
				return nil, fault.New(fault.IllegalArgument, "%.100q is not a property and, perhaps, asc or desc", text)
			}
			key.Property = keys.Fold(words[0])
			composite = append(composite, key)
		}
		if len(composite) < entity.MinCompositeKeys || len(composite) > entity.MaxCompositeKeys {
			return nil, fault.New(fault.IllegalArgument, "a composite index has %d to %d properties", entity.MinCompositeKeys, entity.MaxCompositeKeys)
		}
		all = append(all, composite)
	}
	return &all, nil
}

// who names the caller in settings.
func (c *call) who() string {
	switch c.req.Principal.Kind {
	case auth.Admin, auth.Superuser:
		return c.req.Principal.Email
	case auth.AppClient:
		return "app credentials"
	}
	return "generic credentials"
}

// shownIndex is a composite index as settings show it.
type shownIndex struct {
	Properties []string `json:"properties"`
	State      string   `json:"state"`
	Entries    uint64   `json:"entries"` // entities that are in it
}

// shownSettings is what clients read of settings; nil if there are none.
func (c *call) shownSettings(v *storage.View) (any, error) {
	app := c.req.App.Number
	col, ok, err := storage.ReadCollection(v, app, c.typ.Collection)
	if err != nil || !ok {
		return nil, err
	}
	s, err := storage.ReadSettings(v, app, col.ID)
	if err != nil || !s.Declared {
		return nil, err
	}
	var fields any = "all"
	switch {
	case s.Plan.None:
		fields = "none"
	case !s.Plan.All:
		fields = append([]string{}, s.Plan.Fields...)
	}
	shown := struct {
		LastUpdated      int64        `json:"lastUpdated"`
		LastUpdateBy     string       `json:"lastUpdateBy"`
		LastReindexed    int64        `json:"lastReindexed"`
		Fields           any          `json:"fields"`
		QueueIndex       string       `json:"queueIndex,omitempty"`
		IndexConsistency string       `json:"indexConsistency,omitempty"`
		Indexes          []shownIndex `json:"indexes,omitempty"`
	}{s.Updated, s.UpdatedBy, s.Reindexed, fields, s.QueueIndex, s.IndexConsistency, nil}
	for i := range s.Plan.Composites {
		shown.Indexes = append(shown.Indexes, showIndex(&s, &col, &s.Plan.Composites[i]))
	}
	return shown, nil
}

func showIndex(s *entity.Settings, col *storage.Collection, composite *entity.Composite) shownIndex {
	shown := shownIndex{State: "building", Entries: col.Count}
	if s.Ready(composite) {
		shown.State = "ready"
	}
	for _, key := range composite.Keys {
		text := key.Property
		if key.Desc {
			text += " desc"
		}
		shown.Properties = append(shown.Properties, text)
	}
	for _, older := range col.Older {
		plan, ok := s.PlanOf(older.Generation)
		if !ok || !slices.ContainsFunc(plan.Composites, func(o entity.Composite) bool { return o.Number == composite.Number }) {
			shown.Entries -= older.Count
		}
	}
	return shown
}

// indexes answers with the names of the properties that are indexed (section 7).
func (c *call) indexes() (*wire.Reply, error) {
	reply := c.req.Entities(c.path)
	err := c.reading(c.req, func(v *storage.View) error {
		names, err := c.indexNames(v, []string{c.typ.Collection})
		reply.Field("data", names)
		return err
	})
	return reply, err
}

// indexNames returns the names of the properties that are indexed in collections.
func (c *call) indexNames(v *storage.View, collections []string) ([]string, error) {
	names := []string{}
	for _, collection := range collections {
		col, ok, err := storage.ReadCollection(v, c.req.App.Number, collection)
		if err != nil {
			return nil, err
		}
		if !ok || col.Count == 0 {
			continue
		}
		own, err := storage.IndexedProperties(v, c.req.App.Number, col.ID)
		if err != nil {
			return nil, err
		}
		names = append(append(names, own...), "created", "modified", "type", "uuid")
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}
