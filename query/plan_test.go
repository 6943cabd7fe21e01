package query

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
)

// TestPlans runs testdata/plans: which plan answers a query over a thousand entities.
func TestPlans(t *testing.T) {
	k := thousand(t, 1000)
	datadriven.RunTest(t, "testdata/plans", func(t *testing.T, d *datadriven.TestData) string {
		req, err := k.request(d.Input, 10)
		if err != nil {
			return err.Error() + "\n"
		}
		for _, arg := range d.CmdArgs {
			if arg.Key == "limit" {
				req.Limit, _ = strconv.Atoi(arg.Vals[0])
			}
		}
		req.Explain = true
		page, err := k.w.page(req)
		if err != nil {
			return err.Error() + "\n"
		}
		var b strings.Builder
		printPlan(&b, page.Plan, 0)
		fmt.Fprintf(&b, "%d rows", len(page.Rows))
		if page.Cursor != "" {
			b.WriteString(" and more")
		}
		return b.String() + "\n"
	})
}

func printPlan(b *strings.Builder, p *Plan, depth int) {
	fmt.Fprintf(b, "%s%s", strings.Repeat("  ", depth), p.Kind)
	if p.Index != "" {
		fmt.Fprintf(b, " %s", p.Index)
	}
	if p.Detail != "" {
		fmt.Fprintf(b, ", %s", p.Detail)
	}
	fmt.Fprintf(b, ": estimated %d, examined %d\n", p.Estimated, p.Examined)
	for _, part := range p.Parts {
		printPlan(b, part, depth+1)
	}
}

// thousand makes a collection of n entities whose properties have known shares.
func thousand(t testing.TB, n int) *kind {
	w := newWorld(t)
	k := w.kind("things", "thing")
	w.commit(func(b *storage.Batch) {
		k.set(b, entity.IndexPlan{All: true, Composites: []entity.Composite{
			{Number: 1, Keys: []entity.CompositeKey{{Property: "category"}, {Property: "score", Desc: true}}},
		}})
	})
	k.settle()
	fillThousand(k, n)
	return k
}

func fillThousand(k *kind, n int) {
	for done := 0; done < n; {
		k.w.commit(func(b *storage.Batch) {
			for range min(1000, n-done) {
				done++
				var id entity.ID
				id[0], id[1], id[2], id[15] = byte(done), byte(done>>8), byte(done>>16), 1
				rest := ""
				if done%4 == 0 {
					rest = `,"rating":5`
				}
				text := fmt.Sprintf(`{"name":"n%d","serial":%d,"half":%v,"status":"s%d","category":"c%d","score":%d,"price":%d.5,"title":"common word%d of things%s","loc":{"latitude":%f,"longitude":%f},"filler":"%s"%s}`,
					done, done, done%2 == 0, done%20, done%50, done*7919%1000003, done*7907%1000, done%500, rare(done),
					float64(done*7919%18000)/100-90, float64(done*7907%36000)/100-180, "some text that makes it as long as usual", rest)
				k.add(b, id, int64(1_000_000+done), int64(1_000_000+done), text)
			}
		})
	}
}

func rare(n int) string {
	if n%333 == 0 {
		return " rare"
	}
	return ""
}
