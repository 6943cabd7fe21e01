package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/trellisdb/trellis/bench/client"
	"github.com/trellisdb/trellis/bench/data"
	"github.com/trellisdb/trellis/bench/load"
	"github.com/trellisdb/trellis/bench/report"
	"github.com/trellisdb/trellis/bench/server"
	"github.com/trellisdb/trellis/bench/workload"
)

// measureAll measures all shapes: first those that a composite index would serve,
// without one.
func (q *queries) measureAll(ctx context.Context, places []data.Place) error {
	q.quiet(ctx)
	if err := q.bare(ctx); err != nil {
		return err
	}
	var without, with [][]workload.Shape // one shape each, by size
	for _, n := range q.collections() {
		collection := recordsCollection(n)
		ids, err := q.ask.IDs(ctx, q.records, collection, n, 1000)
		if err != nil {
			return err
		}
		without = q.beside(without, workload.Unordered(collection, n))
		with = q.beside(with, workload.RecordShapes(q.records, collection, n, ids))
	}
	if len(without) > 0 {
		for _, n := range q.collections() {
			if err := q.declare(ctx, recordsCollection(n), "all", nil); err != nil {
				return err
			}
		}
	}
	if err := q.measureShapes(ctx, without); err != nil {
		return err
	}
	for _, n := range q.collections() {
		collection := recordsCollection(n)
		if err := q.timed(collection, "composite indexes built", n, func() error { return q.declare(ctx, collection, "all", workload.Composites()) }); err != nil {
			return err
		}
	}
	q.quiet(ctx)
	if len(places) > 0 {
		with = q.beside(with, workload.PlaceShapes(places, placesCollection))
	}
	return q.measureShapes(ctx, with)
}

// beside adds shapes of another collection beside those of the same name.
func (q *queries) beside(all [][]workload.Shape, shapes []workload.Shape) [][]workload.Shape {
	for _, s := range shapes {
		if len(q.shapes) > 0 && !slices.ContainsFunc(q.shapes, func(part string) bool { return strings.Contains(s.Name, part) }) {
			continue
		}
		at := slices.IndexFunc(all, func(of []workload.Shape) bool { return of[0].Name == s.Name })
		if at < 0 {
			all = append(all, []workload.Shape{s})
			continue
		}
		all[at] = append(all[at], s)
	}
	return all
}

// measureShapes measures each shape in all its collections before the next, so that
// what else the machine does disturbs the sizes alike. Only the largest collection is
// asked over several connections, and what reads it all over one.
func (q *queries) measureShapes(ctx context.Context, all [][]workload.Shape) error {
	for _, shapes := range all {
		for i := range shapes {
			s := &shapes[i]
			largest := i == len(shapes)-1
			if s.Pages && !largest {
				continue
			}
			planned, err := q.explain(ctx, s)
			if err != nil {
				return err
			}
			connections := []int{1}
			if largest && s.Name != workload.WithoutIndexes {
				connections = q.connections
			}
			for _, n := range connections {
				if err := q.measure(ctx, s, n, planned); err != nil {
					return fmt.Errorf("%s over %d connections: %w", s.Name, n, err)
				}
			}
		}
	}
	return nil
}

func (q *queries) explain(ctx context.Context, s *workload.Shape) (report.Planned, error) {
	requests := q.explains
	if s.Name == workload.WithoutIndexes {
		requests = 2
	}
	e, err := q.ask.Explain(ctx, s, requests)
	if err != nil {
		return report.Planned{}, err
	}
	p := report.Planned{Example: e.Example, Plan: e.Plan, Refused: e.Refused, KeysPerRow: -1, KeysPerRequest: -1, RowsPerRequest: -1}
	if e.Requests > 0 {
		p.KeysPerRow, p.KeysPerRequest, p.RowsPerRequest = e.KeysPerRow(), e.KeysPerRequest(), float64(e.Rows)/float64(e.Requests)
	}
	return p, nil
}

// measure measures a shape over some connections.
func (q *queries) measure(ctx context.Context, s *workload.Shape, connections int, planned report.Planned) error {
	plan := q.plan(connections)
	var rows uint64
	result, spent, err := drive(ctx, plan, func(i int) (load.Worker, error) { return q.ask.Worker(s, i), nil }, func() []server.Usage {
		rows = q.ask.Rows() // of the warm-up, and then of the measurement
		return q.usage()
	})
	if err != nil {
		return err
	}
	row := report.QueryRow{Row: report.NewRow(s.Name, plan, result), Collection: s.Collection, Entities: s.Entities, Indexed: s.Indexed,
		First: s.First, Paged: s.Pages, RowsRate: float64(rows) / result.Elapsed.Seconds(), Plan: planned}
	spent.on(&row.Row)
	if bare, ok := q.report.BareHandler(connections); ok {
		row.Against(report.Limit{Name: bare.Workload, Connections: connections, Throughput: bare.Throughput})
	}
	q.report.Rows = append(q.report.Rows, row)
	progress(row.Row, report.Count(s.Entities))
	return nil
}

// bare measures what the machine allows, and the least the server can do.
func (q *queries) bare(ctx context.Context) error {
	r := &runner{duration: q.duration, warmUp: q.warmUp, report: &report.Report{}}
	collection := recordsCollection(q.entities)
	c := client.NewConn(q.target.Addr, requestTimeout)
	defer c.Close() //nolint:errcheck // nothing is pending on it
	sizes := make([]int, 0, 3)
	for _, path := range []string{q.target.Path(collection, q.records.Name(0)), q.target.Path(collection) + "?limit=10", q.target.Path(collection) + "?limit=100"} {
		status, answer, err := c.Do(q.target.Request(http.MethodGet, path, nil))
		if err != nil || status != http.StatusOK {
			return fmt.Errorf("GET %s: status %d: %w", path, status, err)
		}
		sizes = append(sizes, len(answer))
	}
	hello := workload.Hello()
	for _, n := range q.connections {
		first := len(r.report.Rows)
		for i, name := range []string{"bare handler", "bare page of 10", "bare page of 100"} {
			if _, err := r.bare(ctx, q.target, n, name, sizes[i]); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		plan := q.plan(n)
		result, spent, err := drive(ctx, plan, func(i int) (load.Worker, error) { return q.ask.Worker(&hello, i), nil }, q.usage)
		if err != nil {
			return fmt.Errorf("%s: %w", hello.Name, err)
		}
		row := report.NewRow(hello.Name, plan, result)
		spent.on(&row)
		r.add(row)
		for i := first + 1; i < len(r.report.Rows); i++ {
			r.report.Rows[i].Against(report.Limit{Name: "bare handler", Connections: n, Throughput: r.report.Rows[first].Throughput})
		}
	}
	q.report.Bare = r.report.Rows
	return nil
}
