package collections

import (
	"strconv"

	"github.com/trellisdb/trellis/api/schema"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/query"
	"github.com/trellisdb/trellis/query/ql"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// isActivities reports whether a type is that of activities, which are listed in the
// outboxes and feeds of users and groups.
func isActivities(t *schema.Type) bool { return t.Collection == "activities" }

// unchanging are the properties of an activity that stay as they were when it was posted.
var unchanging = []string{"actor", "verb", "published", "content", "title", "category", "object", "icon"}

// newActivity applies the rules of a new activity to a document (spec
// activities-and-feeds sections 1 and 2.2).
func (c *call) newActivity(doc *document, created int64) error {
	if err := c.fillActor(doc); err != nil {
		return err
	}
	if !doc.has("published") {
		if err := doc.setAs("published", strconv.AppendInt(nil, created, 10)); err != nil {
			return err
		}
	}
	return tidyActivity(doc)
}

// changedActivity applies the rules of PUT to a document: what cannot be changed is left
// out of it.
func changedActivity(doc *document) error {
	for _, name := range unchanging {
		doc.remove(name)
	}
	return tidyActivity(doc)
}

// fillActor says in a document who did it, as far as the document does not: the user who
// posts, or what stands beside the actor.
func (c *call) fillActor(doc *document) error {
	actor := []byte("{}")
	given := doc.has("actor")
	if given {
		actor = doc.properties[doc.find("actor")].value
		if actor[0] != '{' {
			return fault.New(fault.IllegalArgument, "the actor of an activity must be an object")
		}
		actor = withoutNulls(actor)
	}
	if c.actor != nil {
		actor = fillFrom(actor, c.actor, !given)
	}
	if !given {
		actor = fillFlat(actor, doc)
	}
	if !given && string(actor) == "{}" {
		return nil // it is missing
	}
	return doc.setAs("actor", actor)
}

// fillFrom adds to an actor what it lacks of a user: uuid and e-mail address, and if it is
// whole, what else is known of him.
func fillFrom(actor []byte, user *entity.Entity, whole bool) []byte {
	actor = fillText(actor, "uuid", user.ID.String())
	if email, ok := stringProperty(user.JSON, "email"); ok {
		actor = fillText(actor, "email", email)
	}
	if !whole {
		return actor
	}
	username, _ := stringProperty(user.JSON, "username")
	name, ok := stringProperty(user.JSON, "name")
	if !ok {
		name = username
	}
	actor = fillText(actor, "username", username)
	actor = fillText(actor, "displayName", name)
	if picture, ok := stringProperty(user.JSON, "picture"); ok {
		actor = fillText(actor, "picture", picture)
	}
	return fillText(fillText(actor, "entityType", "user"), "objectType", "person")
}

// fillFlat adds to an actor what stands beside it in its place, which stays there too. A
// UUID alone is none: it may be that of the activity.
func fillFlat(actor []byte, doc *document) []byte {
	found := false
	for _, name := range []string{"displayName", "username", "image", "email"} {
		if !doc.has(name) {
			continue
		}
		found = true
		if p := &doc.properties[doc.find(name)]; !hasMember(actor, name) {
			actor = withMember(actor, name, p.value)
		}
	}
	if id, ok := doc.flatID(); found && ok {
		actor = fillText(actor, "uuid", id.String())
	}
	return actor
}

// flatID is the UUID that a body has at its top, if it is one.
func (d *document) flatID() (id entity.ID, ok bool) {
	for _, s := range d.system {
		if s.key == "uuid" {
			id, ok = uuidOf(s.value)
		}
	}
	return id, ok
}

func fillText(object []byte, name, text string) []byte {
	if hasMember(object, name) {
		return object
	}
	return withMember(object, name, wire.AppendString(nil, text))
}

func hasMember(object []byte, name string) (has bool) {
	// The callback never fails, so neither does the walk.
	_ = eachMember(object, func(m member) error {
		has = has || keys.SameFold(m.key, name)
		return nil
	})
	return has
}

// withMember returns a new object that has one member more.
func withMember(object []byte, name string, value []byte) []byte {
	b := append(make([]byte, 0, len(object)+len(name)+len(value)+8), object[:len(object)-1]...)
	if len(b) > 1 {
		b = append(b, ',')
	}
	b = append(wire.AppendString(b, name), ':')
	return append(append(b, value...), '}')
}

// tidyActivity brings the objects of an activity into their form: without nulls, with all
// numbers of links to media. A UUID in one must be one.
func tidyActivity(doc *document) error {
	for i := range doc.properties {
		p := &doc.properties[i]
		if len(p.value) == 0 || p.empty {
			continue
		}
		value, err := tidyMember(p.key, p.value, "actor", "object", "generator")
		if err != nil {
			return err
		}
		p.value = value
	}
	return nil
}

// tidyMember is the form of a member of an activity, or of an object of it. objects are
// names of members that are such objects, beside those that always are.
func tidyMember(name string, value []byte, objects ...string) ([]byte, error) {
	switch {
	case contains(objects, name), keys.SameFold(name, "author"):
		return tidyObject(value)
	case contains([]string{"image", "icon"}, name):
		return tidyLink(value), nil
	case keys.SameFold(name, "attachments") && value[0] == '[':
		b := []byte{'['}
		err := eachElement(value, func(element []byte) error {
			tidy, err := tidyObject(element)
			if len(b) > 1 {
				b = append(b, ',')
			}
			b = append(b, tidy...)
			return err
		})
		return append(b, ']'), err
	}
	return value, nil
}

// tidyObject is the form of an object of an activity: something that acts, is acted upon,
// or is attached. What is no object stays as it is.
func tidyObject(value []byte) ([]byte, error) {
	if value[0] != '{' {
		return value, nil
	}
	b := []byte{'{'}
	err := eachMember(value, func(m member) error {
		if m.value[0] == 'n' {
			return nil
		}
		if m.key == "uuid" {
			if _, ok := uuidOf(m.value); !ok {
				return fault.New(fault.IllegalArgument, "the uuid of an object of an activity is not a UUID")
			}
		}
		tidy, err := tidyMember(m.key, m.value)
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(append(append(b, m.quote...), ':'), tidy...)
		return err
	})
	return append(b, '}'), err
}

// tidyLink is the form of a link to media.
func tidyLink(value []byte) []byte {
	if value[0] != '{' {
		return value
	}
	link := withoutNulls(value)
	for _, name := range []string{"duration", "height", "width"} {
		if !hasMember(link, name) {
			link = withMember(link, name, []byte{'0'})
		}
	}
	return link
}

// withoutNulls returns an object without the members that are null.
func withoutNulls(object []byte) []byte {
	b := []byte{'{'}
	// The callback never fails, so neither does the walk.
	_ = eachMember(object, func(m member) error {
		if m.value[0] == 'n' {
			return nil
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(append(append(b, m.quote...), ':'), m.value...)
		return nil
	})
	return append(b, '}')
}

// byPublished gives a query over all activities their default order, as far as the
// settings of the collection leave an index for it.
func (c *call) byPublished(v *storage.View, ask *query.Request) error {
	ask.Cursors = c.req.Method() == "GET"
	q := ask.Query
	if len(q.Order) > 0 || q.Direct != nil || len(q.Near()) > 0 || ask.Start != 0 || ask.From.ID == 0 {
		return nil
	}
	settings, err := storage.ReadSettings(v, ask.App, ask.From.ID)
	if err != nil || !settings.Plan.Covers("published") {
		return err
	}
	q.Order = []ql.SortKey{{Property: "published", Desc: !ask.OldestFirst}}
	if ask.OldestFirst { // of what was published at the same time as well
		q.Order = append(q.Order, ql.SortKey{Property: "created"})
	}
	return nil
}
