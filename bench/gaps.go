package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/trellisdb/trellis/bench/history"
	"github.com/trellisdb/trellis/bench/plan"
)

// calm stands in the table for the time before the first fault.
const calm plan.Kind = "no fault"

// calmGoal is how long nothing may be acknowledged without a fault (R26).
const calmGoal = 500 * time.Millisecond

// window is the time in which a fault can keep writes from being acknowledged:
// until the next one.
type window struct {
	kind           plan.Kind
	what           string
	struck, healed time.Duration
	from, to       time.Duration
	struckLeader   []bool // by application: the follower that was struck led its partition
}

// exempted tells whether the fault was another one for some applications.
func (w window) exempted() string {
	switch {
	case !slices.Contains(w.struckLeader, true):
		return ""
	case !slices.Contains(w.struckLeader, false):
		return " (does not count: it led all applications)"
	}
	return " (of applications that it did not lead)"
}

// gapTable collects the longest times without an acknowledged write.
type gapTable map[plan.Kind][]time.Duration

// add takes over the gap of a window: that of the application that waited longest. For
// those whose leader was struck it was no fault of a follower, and does not count; if
// it was so for all, nothing is taken over.
func (g *gapTable) add(h *history.History, w window, apps int) time.Duration {
	if *g == nil {
		*g = make(gapTable)
	}
	gap, counts := time.Duration(0), false
	for app := range apps {
		if app < len(w.struckLeader) && w.struckLeader[app] {
			continue
		}
		gap, counts = max(gap, h.Gap(app, w.from, w.to)), true
	}
	if counts {
		(*g)[w.kind] = append((*g)[w.kind], gap)
	}
	return gap
}

// goalOf is the figure a fault is held to, 0 if there is none.
func goalOf(k plan.Kind, nodes int) time.Duration {
	if k == calm {
		return calmGoal
	}
	return plan.Goal(k, nodes)
}

// median is the middle of some durations, which it sorts.
func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}

// print writes the table as Markdown.
func (g gapTable) print(out io.Writer, nodes int) {
	fmt.Fprint(out, "\n| fault | times | median gap | longest gap | goal | over it |\n|---|---|---|---|---|---|\n")
	for _, k := range append([]plan.Kind{calm}, plan.Kinds()...) {
		all := slices.Clone(g[k])
		if len(all) == 0 {
			continue
		}
		goal, limit, over := goalOf(k, nodes), "–", "–"
		if goal > 0 {
			n := 0
			for _, gap := range all {
				if gap > goal {
					n++
				}
			}
			limit, over = goal.String(), fmt.Sprint(n)
		}
		fmt.Fprintf(out, "| %s | %d | %s | %s | %s | %s |\n", k, len(all),
			median(all).Round(time.Millisecond), slices.Max(all).Round(time.Millisecond), limit, over)
	}
}

// over is an error if a gap is longer than its goal.
func (g gapTable) over(nodes int) error {
	var err error
	for _, k := range append([]plan.Kind{calm}, plan.Kinds()...) {
		if goal := goalOf(k, nodes); goal > 0 && len(g[k]) > 0 && slices.Max(g[k]) > goal {
			err = errors.Join(err, fmt.Errorf("%s: no write was acknowledged for %s, the goal is %s", k, slices.Max(g[k]), goal))
		}
	}
	return err
}
