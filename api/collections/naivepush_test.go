package collections_test

import (
	"encoding/json"
	"slices"
	"strings"
)

func nameOf(object []byte) string {
	var e struct{ Name string }
	if json.Unmarshal(object, &e) != nil {
		return "?"
	}
	return e.Name
}

// sorted are the different ones of some names, in order.
func sorted(list []string) string {
	list = slices.Clone(list)
	slices.Sort(list)
	return strings.Join(slices.Compact(list), " ")
}

// property is a property of a notification as it is stored.
func (r *rest) property(id, property string) []byte {
	r.Helper()
	var body struct {
		Entities []map[string]json.RawMessage
	}
	if err := json.Unmarshal([]byte(r.ok("GET", "/notifications/"+id, "").Body), &body); err != nil || len(body.Entities) != 1 {
		r.Fatal(err, len(body.Entities))
	}
	return body.Entities[0][property]
}
