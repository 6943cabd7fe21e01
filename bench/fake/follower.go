package fake

import (
	"bytes"
	"net"
	"time"

	"github.com/valyala/fasthttp"
)

// Follower stands for another node of the cluster of a Server: it asks that for
// everything, and says of itself that it follows.
type Follower struct{ http *fasthttp.Server }

// NewFollower makes a follower of the server at an address, which need not
// listen yet. Of the faults it knows Strict.
func NewFollower(leader string, fault Fault) *Follower {
	ask := &fasthttp.HostClient{Addr: leader, MaxConns: 1000}
	return &Follower{http: &fasthttp.Server{
		MaxRequestBodySize: 16 << 20, CloseOnShutdown: true, IdleTimeout: time.Minute,
		Handler: func(rc *fasthttp.RequestCtx) {
			if fault == Strict {
				rc.Request.Header.Del("X-Trellis-Consistency")
			}
			if err := ask.Do(&rc.Request, &rc.Response); err != nil {
				refuse(rc, 503, "no leader")
				return
			}
			if string(rc.Path()) == "/status" {
				rc.SetBody(bytes.ReplaceAll(rc.Response.Body(), []byte(`"leader"`), []byte(`"follower"`)))
			}
		},
	}}
}

// Serve answers on l until it is closed.
func (f *Follower) Serve(l net.Listener) error { return f.http.Serve(l) }
