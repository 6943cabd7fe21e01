package query

import (
	"testing"

	"github.com/trellisdb/trellis/storage/fault"
)

func TestStatsCountQueries(t *testing.T) {
	k := books(t)
	for _, text := range []string{"", "year > 1970"} {
		req, err := k.request(text, 100)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := k.w.page(req); err != nil {
			t.Fatal(err)
		}
	}
	s := k.w.engine.Stats()
	if s.Queries != 2 || s.Rows != 15 || s.Examined < 15 || s.Refused != 0 {
		t.Errorf("%+v", s)
	}
	k.w.engine.cfg.MaxKeys = 3
	req, err := k.request("year > 1970", 100)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.w.page(req); !fault.Is(err, fault.QueryTooCostly) {
		t.Errorf("a query that looks at too many keys: %v", err)
	}
	if s := k.w.engine.Stats(); s.Refused != 1 {
		t.Errorf("%+v", s)
	}
}
