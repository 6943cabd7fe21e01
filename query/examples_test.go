package query

import (
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/trellisdb/trellis/storage/fault"
)

// TestWorkedExamples runs the examples of the query language's page.
func TestWorkedExamples(t *testing.T) {
	k := books(t)
	count := 0
	datadriven.RunTest(t, "testdata/examples", func(t *testing.T, d *datadriven.TestData) string {
		count++
		req, err := k.request(d.Input, 100)
		if err != nil {
			return string(fault.CodeOf(err)) + "\n"
		}
		if d.CmdArgs[0].Key == "92" {
			req.Limit = 1
		}
		page, err := k.w.page(req)
		if err != nil {
			return string(fault.CodeOf(err)) + "\n"
		}
		if page.Cursor != "" {
			t.Errorf("a cursor, and all is there")
		}
		if len(page.Rows) == 0 {
			return "(none)\n"
		}
		return names(page.Rows) + "\n"
	})
	if count != 104 {
		t.Errorf("%d examples, want 104", count)
	}
}
