package collections

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/trellisdb/trellis/api/schema"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage/entity"
)

// FuzzIncrements: whatever the counters of an event are, what is counted is within the
// bounds of a command, can be asked for by name, and is shown as JSON integers.
func FuzzIncrements(f *testing.F) {
	for _, s := range []string{`{"ad_clicks":5,"errors.db.timeout":"-1"}`, `{"A.b":0,"a.B":1e3}`, `{"":1}`, `{"a..b":1}`, `{"a:b":9223372036854775807}`, `[1]`, `{"\u0000":1,"\ud800":2}`} {
		f.Add(s)
	}
	events, err := schema.Of("events")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, counters string) {
		body := `{"timestamp":1,"counters":` + counters + `}`
		if wire.CheckJSON([]byte(body)) != nil {
			return
		}
		doc, err := normalize(events, []byte(body), forCreate, 5)
		if err != nil || !doc.has("counters") {
			return
		}
		object, list, err := increments(doc.properties[doc.find("counters")].value, true)
		if err != nil {
			return
		}
		tally := command.Tally{Dimensions: entity.Dimensions{User: entity.ID{1}, Group: entity.ID{1}, Category: "c"}, Increments: list}
		if len(list) > command.MaxIncrements || tally.Work() > command.MaxCounted {
			t.Errorf("%s counts %d names, %d keys", counters, len(list), tally.Work())
		}
		for _, inc := range list {
			if !command.ValidCounterName(inc.Name) || inc.Reset != (inc.By == 0) {
				t.Errorf("%s counts %+v", counters, inc)
			}
			if asked := parseSeries(inc.Name, [3]string{}); asked.name != inc.Name {
				t.Errorf("%q cannot be asked for: %+v", inc.Name, asked)
			}
		}
		var shown map[string]int64
		if err := json.Unmarshal(object, &shown); err != nil {
			t.Errorf("%s is shown as %s: %v", counters, object, err)
		}
		if e := withMessage([]byte(`{"counters":` + string(object) + `}`)); !json.Valid(e) {
			t.Errorf("%s with a message: %s", object, e)
		}
	})
}

// FuzzSeries: parameters of a read of counters never panic, and no part of a series is
// lost.
func FuzzSeries(f *testing.F) {
	f.Add("n:ann:dev/team:a:b", "x", "1500000000000", "day")
	f.Add("*:*::", "", "-1", "99999999999999999999")
	f.Add("N", "c", "1e9", "5")
	f.Fuzz(func(t *testing.T, text, category, at, resolution string) {
		s := parseSeries(text, [3]string{2: category})
		if strings.Count(text, ":") >= 3 {
			if parts := strings.SplitN(text, ":", 4); s.category != parts[3] && parts[3] != "*" || s.user != parts[1] && parts[1] != "*" {
				t.Errorf("%q became %+v", text, s)
			}
		} else if s.category != category && category != "*" {
			t.Errorf("%q in category %q became %+v", text, category, s)
		}
		ms, given, err := counterTime("start_time", at)
		if ms < 0 || ms > maxTime || err == nil && given != (strings.TrimSpace(at) != "") {
			t.Errorf("%q is %d, %v, %v", at, ms, given, err)
		}
		r := entity.ParseResolution(resolution)
		if from := r.Bucket(ms); from < 0 || from > ms || ms-from > r.Interval() && r != entity.Whole {
			t.Errorf("%d in resolution %d begins at %d", ms, r, from)
		}
	})
}
