package limit

import (
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"
)

// sizePrefix begins the path that says how large an answer is wanted.
const sizePrefix = "/size/"

// Path is what to ask the bare handler for an answer of n bytes.
func Path(n int) string { return sizePrefix + strconv.Itoa(n) }

// ServeHTTP answers GET Path(n) with n bytes of JSON type until ctx ends, and
// prints its address as the first line of out.
func ServeHTTP(ctx context.Context, addr string, out io.Writer) error {
	l, err := net.Listen("tcp4", addr)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	const largest = 4 << 20
	filler := make([]byte, largest)
	for i := range filler {
		filler[i] = 'x'
	}
	srv := &fasthttp.Server{
		Name:        "bare",
		ReadTimeout: time.Minute, WriteTimeout: time.Minute, IdleTimeout: time.Minute,
		Handler: func(rc *fasthttp.RequestCtx) {
			path := rc.Path()
			if len(path) <= len(sizePrefix) {
				rc.SetStatusCode(fasthttp.StatusOK)
				return
			}
			n, err := fasthttp.ParseUint(path[len(sizePrefix):])
			if err != nil || n > largest {
				rc.SetStatusCode(fasthttp.StatusBadRequest)
				return
			}
			rc.SetContentType("application/json;charset=utf-8")
			rc.Response.SetBodyRaw(filler[:n])
		},
	}
	if _, err := fmt.Fprintln(out, l.Addr()); err != nil {
		return fmt.Errorf("print the address: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(l) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
		if err := srv.Shutdown(); err != nil {
			return fmt.Errorf("shut down: %w", err)
		}
		return nil
	}
}
