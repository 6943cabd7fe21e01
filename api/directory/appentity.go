package directory

import (
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/valyala/fastjson"

	"github.com/trellisdb/trellis/api/auth"
	"github.com/trellisdb/trellis/api/inflect"
	"github.com/trellisdb/trellis/api/schema"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/keys"
)

// ServersOwn reports whether a property of an application's record is the
// server's: never taken from a client, nor shown as it is stored.
func ServersOwn(property string) bool {
	folded := keys.Fold(property)
	if strings.HasPrefix(folded, serverPrefix) {
		return true
	}
	switch folded {
	case "uuid", "type", "name", "created", "modified", "metadata", "number", "partition", "organization", "open",
		"organizationname", "applicationname", "secret", "credentials":
		return true
	}
	return false
}

// AppendApplicationEntity appends the entity of an application as it is shown
// everywhere (spec management section 1.3): its record without what is the
// server's own, and its collections with the exact number of their entities,
// the standard ones also when they were never used.
func AppendApplicationEntity(dst []byte, app *wire.Application, record *entity.Entity, collections []storage.Collection) ([]byte, error) {
	v, err := parseRecord(record)
	if err != nil {
		return nil, err
	}
	dst = append(dst, `{"uuid":"`...)
	dst = app.ID.AppendText(dst)
	dst = append(dst, `","type":"application","name":`...)
	dst = wire.AppendString(dst, app.OrganizationName+"/"+app.Name)
	dst = strconv.AppendInt(append(dst, `,"created":`...), record.Created, 10)
	dst = strconv.AppendInt(append(dst, `,"modified":`...), record.Modified, 10)
	if o, err := v.Object(); err == nil {
		o.Visit(func(key []byte, value *fastjson.Value) {
			if !ServersOwn(string(key)) {
				dst = wire.AppendString(append(dst, ','), string(key))
				dst = wire.AppendValue(append(dst, ':'), value)
			}
		})
	}
	dst = wire.AppendString(append(dst, `,"organizationName":`...), app.OrganizationName)
	dst = wire.AppendString(append(dst, `,"applicationName":`...), app.Name)
	dst = append(dst, `,"metadata":{"collections":{`...)
	for i, c := range listed(collections) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(wire.AppendString(dst, c.Name), `:{"title":`...)
		dst = wire.AppendString(dst, title(c.Name))
		dst = strconv.AppendUint(append(dst, `,"count":`...), c.Count, 10)
		dst = wire.AppendString(append(dst, `,"name":`...), c.Name)
		dst = wire.AppendString(append(dst, `,"type":`...), typeOf(c.Name))
		dst = append(dst, '}')
	}
	return append(dst, '}', '}', '}'), nil
}

// listed adds the collections that are always listed, in order of names.
func listed(collections []storage.Collection) []storage.Collection {
	all := slices.Clone(collections)
	for _, name := range schema.AlwaysListed() {
		if !slices.ContainsFunc(all, func(c storage.Collection) bool { return c.Name == name }) {
			c := storage.Collection{Name: name}
			if name == "roles" { // the first request of the application makes them: nobody sees it without
				c.Count = uint64(len(auth.DefaultRoles(false)))
			}
			all = append(all, c)
		}
	}
	slices.SortFunc(all, func(a, b storage.Collection) int { return strings.Compare(a.Name, b.Name) })
	return all
}

func typeOf(collection string) string {
	if t, err := schema.Of(collection); err == nil {
		return t.Name
	}
	return inflect.Type(collection)
}

func title(name string) string {
	r, n := utf8.DecodeRuneInString(name)
	return string(unicode.ToUpper(r)) + name[n:]
}
