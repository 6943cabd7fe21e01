package collections

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/trellisdb/trellis/api/schema"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// FuzzActivity: whatever body becomes an activity is JSON with an actor, a verb and a time,
// and in its form: what is made of it again is the same. Whatever does not is refused as
// the client's fault.
func FuzzActivity(f *testing.F) {
	f.Add(`{"verb":"post","actor":{"displayName":"Ana","image":{"url":"u","width":80},"uuid":null}}`, false)
	f.Add(`{"verb":"go","displayName":"x","uuid":"0a070000-5e11-11e7-8000-0242ac110002","image":{"url":"v"}}`, true)
	f.Add(`{"verb":1,"published":"5","attachments":[{"author":{"image":{}},"uuid":"0a070000-5e11-11e7-8000-0242ac110002"},7,null],"object":"x","icon":[]}`, true)
	f.Add(`{"Verb":"a","ACTOR":{"a":{},"a":null},"generator":{"attachments":[[{"uuid":3}]]}}`, false)
	typ, err := schema.Of("activities")
	if err != nil {
		f.Fatal(err)
	}
	user := &entity.Entity{ID: entity.ID{1}, JSON: []byte(`{"username":"ana","email":"a@b.cd","picture":"p"}`)}
	make := func(text []byte, owned bool) ([]byte, error) {
		c := &call{typ: typ}
		if owned {
			c.actor = user
		}
		doc, err := normalize(typ, text, forCreate, 7)
		if err == nil {
			err = c.newActivity(doc, 7)
		}
		if err == nil {
			err = doc.requireAll(typ)
		}
		if err != nil {
			return nil, err
		}
		return doc.json(forCreate)
	}
	f.Fuzz(func(t *testing.T, body string, owned bool) {
		if body == "" || body[0] != '{' || wire.CheckJSON([]byte(body)) != nil {
			return
		}
		first, err := make([]byte(body), owned)
		if err != nil {
			var refused *fault.Error
			if !errors.As(err, &refused) || wire.Status(refused.Code) != 400 && wire.Status(refused.Code) != 413 {
				t.Errorf("%s: %v", body, err)
			}
			return
		}
		var shown struct {
			Actor     map[string]any
			Verb      *string
			Published *int64
		}
		if err := json.Unmarshal(first, &shown); err != nil || shown.Actor == nil || shown.Verb == nil || shown.Published == nil {
			t.Fatalf("%s became %s: %v", body, first, err)
		}
		again, err := make(first, owned)
		if err != nil || string(again) != string(first) {
			t.Errorf("%s became %s, and that %s, %v", body, first, again, err)
		}
	})
}
