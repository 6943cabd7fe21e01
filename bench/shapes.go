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
	const often = 5 // shapes between two measurements of the bare handler
	for number, shapes := range all {
		if number%often == 0 && number > 0 {
			if err := q.bareHandler(ctx); err != nil {
				return err
			}
		}
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
	if bare, ok := q.report.BareHandlerOf(connections); ok {
		row.Against(bare)
	}
	q.report.Rows = append(q.report.Rows, row)
	progress(row.Row, report.Count(s.Entities))
	return nil
}

// bare measures what the machine allows, and the least the server can do.
func (q *queries) bare(ctx context.Context) error {
	if err := q.bareHandler(ctx); err != nil {
		return err
	}
	hello := workload.Hello()
	for _, n := range q.connections {
		for _, limit := range []int{10, 100} {
			path := fmt.Sprintf("%s?limit=%d", q.target.Path(recordsCollection(q.entities)), limit)
			if err := q.bareOf(ctx, n, fmt.Sprintf("bare page of %d", limit), path); err != nil {
				return err
			}
		}
		plan := q.plan(n)
		result, spent, err := drive(ctx, plan, func(i int) (load.Worker, error) { return q.ask.Worker(&hello, i), nil }, q.usage)
		if err != nil {
			return fmt.Errorf("%s: %w", hello.Name, err)
		}
		row := report.NewRow(hello.Name, plan, result)
		spent.on(&row)
		q.addBare(row)
		progress(row, "")
	}
	return nil
}

// bareHandler measures the bare handler at all numbers of connections. It does so again
// and again during a run, since what else the machine does changes.
func (q *queries) bareHandler(ctx context.Context) error {
	for _, n := range q.connections {
		if err := q.bareOf(ctx, n, report.BareHandler, q.target.Path(recordsCollection(q.entities), q.records.Name(0))); err != nil {
			return err
		}
	}
	return nil
}

// bareOf measures a handler that answers as many bytes as the server does to a path.
func (q *queries) bareOf(ctx context.Context, connections int, name, path string) error {
	c := client.NewConn(q.target.Addr, requestTimeout)
	defer c.Close() //nolint:errcheck // nothing is pending on it
	status, answer, err := c.Do(q.target.Request(http.MethodGet, path, nil))
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("status %d", status)
	}
	if err != nil {
		return fmt.Errorf("GET %s: %w", path, err)
	}
	r := &runner{duration: q.duration, warmUp: q.warmUp, report: &report.Report{}}
	if _, err := r.bare(ctx, q.target, connections, name, len(answer)); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	q.addBare(r.report.Rows[0])
	return nil
}

// addBare adds a row of what the machine allows.
func (q *queries) addBare(row report.Row) {
	if bare, ok := q.report.BareHandlerOf(row.Connections); ok && !report.IsBareHandler(row) {
		row.Against(bare)
	}
	q.report.Bare = append(q.report.Bare, row)
}
