package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/trellisdb/trellis/bench/client"
	"github.com/trellisdb/trellis/bench/data"
	"github.com/trellisdb/trellis/bench/load"
	"github.com/trellisdb/trellis/bench/report"
	"github.com/trellisdb/trellis/bench/server"
)

// measureWrites creates records in a collection that indexes everything and in one that
// indexes nothing, singly and in batches, and looks at what that cost.
func (q *queries) measureWrites(ctx context.Context) error {
	run := time.Now().UnixMilli() // names are new if the server was measured before
	for _, fields := range []string{"none", "all"} {
		collection := fmt.Sprintf("writes-%s-%d", fields, run)
		if err := q.declare(ctx, collection, fields, nil); err != nil {
			return err
		}
		records, err := data.NewRecords(q.seed + uint64(run))
		if err != nil {
			return err
		}
		w := &writer{target: q.target, path: q.target.Path(collection), records: records}
		for _, batch := range []int{1, 100} {
			if err := q.measureCreates(ctx, fields, w, batch); err != nil {
				return fmt.Errorf("create with fields %s, %d a request: %w", fields, batch, err)
			}
		}
	}
	return nil
}

// measureCreates creates for a while one a request, and so many in batches that what
// they cost has reached the disk.
func (q *queries) measureCreates(ctx context.Context, fields string, w *writer, batch int) error {
	const connections = 16
	plan := load.Plan{Connections: connections, Duration: q.duration}
	if batch > 1 {
		plan.Duration, plan.Operations = 0, uint64(max(1, q.writes/batch))
	}
	q.quiet(ctx)
	disk := q.disk()
	before := w.next.Load()
	result, spent, err := drive(ctx, plan, func(int) (load.Worker, error) {
		return &creator{writer: w, batch: batch, conn: client.NewConn(q.target.Addr, requestTimeout)}, nil
	}, q.usage)
	if err != nil {
		return err
	}
	created := int(w.next.Load() - before)
	q.quiet(ctx)
	row := report.NewRow("create", plan, result)
	spent.on(&row)
	write := report.Write{Fields: fields, Batch: batch, Row: row, Rate: row.Throughput * float64(batch), Created: created, WrittenBytes: -1, DiskBytes: -1}
	if len(spent.before) == 1 && spent.before[0].WrittenBytes >= 0 {
		write.WrittenBytes = q.written() - spent.before[0].WrittenBytes
	}
	if after := q.disk(); disk >= 0 && after >= 0 {
		write.DiskBytes = max(0, after-disk)
	}
	q.report.Writes = append(q.report.Writes, write)
	progress(row, fields)
	return nil
}

// disk is what the data directory occupies; negative if unknown.
func (q *queries) disk() int64 {
	if !q.env.own() {
		return -1
	}
	n, err := server.DiskBytes(q.env.dataDir)
	if err != nil {
		return -1
	}
	return n
}

// writer creates records of a collection, each once.
type writer struct {
	target  client.Target
	path    string
	records *data.Records
	next    atomic.Uint64 // number of the next record
}

// creator creates some records a request over one connection.
type creator struct {
	*writer
	batch     int
	conn      *client.Conn
	body, buf []byte
}

// Do implements load.Worker.
func (c *creator) Do() load.Outcome {
	last := c.next.Add(uint64(c.batch))
	c.body = c.body[:0]
	for n := last - uint64(c.batch); n < last; n++ {
		separator := byte(',')
		if n == last-uint64(c.batch) {
			separator = '['
		}
		if c.batch > 1 {
			c.body = append(c.body, separator)
		}
		c.body = c.records.Append(c.body, n)
	}
	if c.batch > 1 {
		c.body = append(c.body, ']')
	}
	c.buf = client.AppendRequest(c.buf[:0], http.MethodPost, c.path, c.target.Addr, c.target.Token, c.body)
	status, answer, err := c.conn.Do(c.buf)
	if err == nil && status == http.StatusOK {
		if n := bytes.Count(answer, []byte(`uuid":"`)); n != c.batch {
			err = fmt.Errorf("%d of %d records were created", n, c.batch)
		}
	}
	return load.Outcome{Status: status, Err: err}
}

// Close implements load.Worker.
func (c *creator) Close() error { return c.conn.Close() }
