package management

import (
	"bytes"
	"encoding/json"
	"html"
	"strconv"
	"strings"

	"github.com/valyala/fastjson"

	"github.com/trellisdb/trellis/api/directory"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/query"
	"github.com/trellisdb/trellis/query/ql"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// Activities of organisations are entities of a collection of the management
// application. Who sees one is its audience, which is not shown: the organisation, and
// its members at the time.
const (
	activitiesName = "activities"
	audience       = "audience"
	// mostAudience bounds the index entries of an activity: of a larger organisation the
	// members beyond it see it in the organisation's feed alone.
	mostAudience = 2000
)

// event is what an activity tells.
type event struct {
	verb, sentence       string // sentence goes on after the actor
	name                 string // of the object
	objectType, typ      string
	object, organization entity.ID
}

func organizationEvent(org *directory.Organization) event {
	return event{
		verb: "create", sentence: "created a new organization account named", name: org.Name,
		objectType: "Organization", typ: "group", object: org.ID, organization: org.ID,
	}
}

// post returns the command that posts an activity of an admin user.
func (e *event) post(actor *directory.Admin, members []entity.ID, now int64) command.CreateEntities {
	type thing struct {
		DisplayName string `json:"displayName"`
		ObjectType  string `json:"objectType"`
		EntityType  string `json:"entityType"`
		UUID        string `json:"uuid"`
	}
	seen := []string{hidden(e.organization)}
	for _, id := range members[:min(len(members), mostAudience)] {
		seen = append(seen, hidden(id))
	}
	who := html.EscapeString(actor.Name) + " (" + html.EscapeString(actor.Email) + ")"
	title := `<a href="mailto:` + html.EscapeString(actor.Email) + `">` + who + `</a> ` + e.sentence + " " + html.EscapeString(e.name)
	record := directory.Fields{}
	for name, text := range map[string]string{"verb": e.verb, "category": "admin", "title": title} {
		record.Set(name, text)
	}
	for name, value := range map[string]any{
		"actor":     thing{actor.Name, "person", "user", actor.ID.String()},
		"object":    thing{e.name, e.objectType, e.typ, e.object.String()},
		"published": now,
		audience:    seen,
	} {
		record[name] = compact(value)
	}
	return command.CreateEntities{
		Rules: command.Rules{Collection: activitiesName, Type: "activity"},
		Items: []command.NewEntity{{ID: entity.NewID(), Created: now, Modified: now, JSON: record.JSON()}},
	}
}

// compact renders a value of texts and numbers, which never fails, as it is stored.
func compact(value any) json.RawMessage {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(value); err != nil {
		return json.RawMessage("null")
	}
	return bytes.TrimRight(b.Bytes(), "\n")
}

// hidden is how an id stands in an audience: one word, so that it is indexed once.
func hidden(id entity.ID) string { return strings.ReplaceAll(id.String(), "-", "") }

// memberIDs returns the ids of an organisation's members.
func (c *call) memberIDs(org entity.ID) ([]entity.ID, error) {
	members, err := c.dir.Members(c.req.Context(), org)
	ids := make([]entity.ID, 0, len(members))
	for _, m := range members {
		ids = append(ids, m.ID)
	}
	return ids, err
}

func (c *call) organizationFeed() (*wire.Reply, error) {
	return c.feed("get organization feed", "/groups/"+c.org.ID.String()+"/feed", c.org.ID)
}

func (c *call) adminFeed() (*wire.Reply, error) {
	return c.feed("get admin user feed", "/users/"+c.admin.ID.String()+"/feed", c.admin.ID)
}

// feed answers with a page of the activities that somebody sees, newest first.
func (c *call) feed(action, path string, of entity.ID) (*wire.Reply, error) {
	limit, err := strconv.Atoi(c.req.Query("limit"))
	if err != nil || limit <= 0 {
		limit = 10
	}
	q, err := ql.Parse("select * where " + audience + " = '" + hidden(of) + "'")
	if err != nil {
		return nil, err
	}
	ask := query.Request{
		App: entity.Management, Query: q, Limit: min(limit, 1000), Cursor: c.req.Query("cursor"),
		From: query.Collection{Name: activitiesName, Type: "activity"},
	}
	entities := []json.RawMessage{}
	var cursor string
	err = c.reading(entity.Management, func(v *storage.View) error {
		if ask.From.ID, _, err = storage.ReadCollectionID(v, entity.Management, activitiesName); err != nil {
			return err
		}
		p, err := c.Engine.Run(c.req.Context(), v, &ask)
		if err != nil {
			return err
		}
		cursor = p.Cursor
		for i := range p.Rows {
			shown, err := showActivity(&p.Rows[i].Entity, path)
			if err != nil {
				return err
			}
			entities = append(entities, shown)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	reply := wire.Management(action).Field("status", "ok").Field("entities", entities)
	if cursor != "" {
		reply.Field("cursor", cursor)
	}
	return reply, nil
}

// showActivity shows an activity without its audience.
func showActivity(e *entity.Entity, path string) (json.RawMessage, error) {
	v, err := fastjson.ParseBytes(e.JSON)
	if err != nil {
		return nil, fault.Wrap(err, fault.Corrupt, "activity %s is not JSON", e.ID)
	}
	v.Del(audience)
	shown := *e
	shown.JSON = wire.AppendValue(nil, v)
	return wire.AppendEntity(nil, &shown, &wire.Shape{Type: "activity", Path: path}, nil), nil
}
