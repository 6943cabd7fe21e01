package collections

import (
	"github.com/trellisdb/trellis/api/schema"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/storage/fault"
)

// Imported returns the stored form of an entity that comes from elsewhere: by the rules
// of creation, but for what a server makes of those it creates itself. Credentials, and
// the secrets of notifiers, are left out, and now stands in for timestamps that are not positive.
func Imported(typ *schema.Type, text []byte, now int64) ([]byte, error) {
	if err := wire.CheckJSON(text); err != nil {
		return nil, err
	}
	if text[skipSpace(text, 0)] != '{' {
		return nil, fault.New(fault.JSONMapping, "an entity must be a JSON object")
	}
	doc, err := normalize(typ, text, forCreate, now)
	if err != nil {
		return nil, err
	}
	switch typ.Collection {
	case "users":
		err = notMe(doc)
	case "groups":
		err = groupPath(doc)
	case "notifiers":
		for _, name := range notifierSecrets {
			doc.remove(name)
		}
	}
	if err == nil {
		err = doc.requireAll(typ)
	}
	if err != nil {
		return nil, err
	}
	return doc.json(forCreate)
}
