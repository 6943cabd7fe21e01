package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/trellisdb/trellis/bench/client"
)

// retryFor is how long a request is tried again that was not answered, or with 5xx.
const retryFor = 2 * time.Minute

// workers is how many connections prepare, run and verify something.
const workers = 32

// applied is an application on a cluster that loses nodes.
type applied struct {
	addrs []string
	app   client.Target
}

// asking is one of the clients of an application: it goes from node to node until it is
// answered.
type asking struct {
	applied
	at   int
	conn *client.Conn
}

func (a applied) client(number int) *asking { return &asking{applied: a, at: number % len(a.addrs)} }

func (q *asking) close() error {
	if q.conn == nil {
		return nil
	}
	return q.conn.Close()
}

// call asks until a node answers other than 5xx. A write must carry a key that makes it
// harmless to ask twice.
func (q *asking) call(ctx context.Context, app client.Target, method, path string, body []byte, key string, out any) error {
	var headers []string
	if key != "" {
		headers = []string{"Idempotency-Key: " + key}
	}
	for end := time.Now().Add(retryFor); ; {
		if q.conn == nil {
			q.conn = client.NewConn(q.addrs[q.at], requestTimeout)
		}
		err := app.At(q.addrs[q.at]).CallWith(q.conn, method, path, body, out, headers...)
		if err == nil || (client.StatusOf(err) != 0 && client.StatusOf(err) < 500 && client.StatusOf(err) != 429) {
			return err
		}
		if time.Now().After(end) || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		if closed := q.close(); closed != nil {
			return closed
		}
		q.conn, q.at = nil, (q.at+1)%len(q.addrs)
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

// each does something with the numbers from 0 to n, by several clients at once. The first
// error ends all.
func (a applied) each(ctx context.Context, n int, do func(ctx context.Context, q *asking, i int) error) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			q := a.client(w)
			var err error
			for i := w; i < n && err == nil && ctx.Err() == nil; i += workers {
				err = do(ctx, q, i)
			}
			if err = errors.Join(err, q.close()); err != nil {
				stop(err)
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}
