package collections

import (
	"bytes"
	"testing"

	"github.com/trellisdb/trellis/api/schema"
	"github.com/trellisdb/trellis/api/wire"
)

// FuzzPlaces: what is taken as a position of a walk is written as it was read.
func FuzzPlaces(f *testing.F) {
	f.Add(appendPlaces(nil, []place{{}, {cursor: "abc", at: rank{created: -5, number: 7}, past: true}}))
	f.Add([]byte{1, 0, 0, 0, 0})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		places, err := decodePlaces(b, 2)
		if err != nil || len(b) == 0 {
			return
		}
		again, err := decodePlaces(appendPlaces(nil, places), 2)
		if err != nil || len(again) != 2 || again[0] != places[0] || again[1] != places[1] {
			t.Errorf("%x: %+v, %+v, %v", b, places, again, err)
		}
	})
}

// FuzzTarget: a target that is stored is read as what it was made of, and nothing else ends
// the process.
func FuzzTarget(f *testing.F) {
	f.Add("devices;ql=location within 500 of 37.5,-122.2", []byte(`{"pathTokens":[{"collection":"users","identifier":{"type":"UUID","value":"x"}}]}`))
	f.Add("users;ql=a+=+1;limit=3", []byte(`{"pathTokens":[{"collection":"groups"},{"collection":"users","query":"a='"}]}`))
	f.Add("groups;ql=", []byte(`[]`))
	f.Fuzz(func(t *testing.T, segment string, stored []byte) {
		_, _ = stepsOf(stored)
		_, own := cutMatrix(segment)
		token, err := selecting("devices", &params{own: own})
		if err != nil {
			return
		}
		text := appendPathQuery(nil, []pathToken{{Collection: "users", Query: ""}, token})
		if err := wire.CheckJSON(text); err != nil {
			return // the segment is not UTF-8: no path has it
		}
		steps, err := stepsOf(text)
		if err != nil || len(steps) != 2 || steps[1].collection != "devices" || steps[1].query == nil {
			t.Errorf("%q: %s: %+v, %v", segment, text, steps, err)
		}
	})
}

// FuzzNotifierForm: no form is too much, and texts are JSON.
func FuzzNotifierForm(f *testing.F) {
	f.Add("multipart/form-data; boundary=x", []byte("--x\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\n ios \r\n--x\r\nContent-Disposition: form-data; name=\"p12Certificate\"; filename=\"a.p12\"\r\n\r\n\x00\xff\r\n--x--\r\n"))
	f.Add("multipart/form-data", []byte("--x--"))
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		in, err := formInput(contentType, body)
		if err != nil {
			return
		}
		total := 0
		for _, m := range in.Members {
			if wire.CheckJSON(m.Value) != nil || m.Value[0] != '"' || !bytes.HasSuffix(m.Value, []byte(`"`)) {
				t.Errorf("%s is %s", m.Name, m.Value)
			}
		}
		for _, file := range in.Files {
			total += len(file.Content)
		}
		if total > len(body) || len(in.Members)+len(in.Files) > maxNotifierParts {
			t.Errorf("%d bytes of %d, %d members", total, len(body), len(in.Members))
		}
	})
}

// FuzzRegistrations: whatever a client says of a device, what is noted of its tokens is the
// server's own, for each token, and JSON.
func FuzzRegistrations(f *testing.F) {
	for _, body := range []string{
		`{"ios.notifier.id":"ab12","IOS.notifier.registration":{"at":1}}`,
		`{"web.notifier.id":"{\"endpoint\":\"https:\\/\\/push.example.test\\/1\"}","x.notifier.registration":7}`,
		`{"web.notifier.id":{"endpoint":"https://push.example.test/1"},"b.notifier.id":null,".notifier.id":"x"}`,
	} {
		f.Add([]byte(body))
	}
	typ, err := schema.Of("devices")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if wire.CheckJSON(body) != nil || body[skipSpace(body, 0)] != '{' {
			return
		}
		doc, err := normalize(typ, body, forUpdate, 5)
		if err != nil || doc.noteRegistrations(5) != nil {
			return
		}
		text, err := doc.json(forUpdate)
		if err != nil {
			return
		}
		if err := wire.CheckJSON(text); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		for i := range doc.properties {
			p := &doc.properties[i]
			if _, ok := notifierOfToken(p.key); ok && p.value != nil {
				note := doc.properties[doc.find(registrationOf(p.key))].value
				if p.empty != (string(note) == "null") || !p.empty && !bytes.HasPrefix(note, []byte(`{"at":5`)) {
					t.Errorf("%s is noted as %s", p.key, note)
				}
				if !p.empty {
					shownToken(p.value)
				}
			}
		}
	})
}
