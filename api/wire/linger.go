package wire

import (
	"crypto/tls"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// lingerTime is how long a connection that closes with a request unread goes on
// reading.
const lingerTime = 2 * time.Second

// Linger returns a listener whose connections close so that a client still
// sending reads its answer. A socket closed with bytes unread is reset, and the
// reset overtakes the answer (RFC 9112 section 9.6): such a connection ends its
// own side first and throws away what still comes, for at most two seconds. A
// listener with TLS goes around this one.
func Linger(ln net.Listener) net.Listener {
	return lingering{ln}
}

type lingering struct{ net.Listener }

func (l lingering) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if tcp, ok := c.(*net.TCPConn); ok && err == nil {
		return &lingeringConn{TCPConn: tcp}, nil
	}
	return c, err
}

// lingeringConn waits in Close if the server says that the client may be
// sending still.
type lingeringConn struct {
	*net.TCPConn

	unread atomic.Bool
}

func (c *lingeringConn) Close() error {
	if c.unread.CompareAndSwap(true, false) && c.CloseWrite() == nil && c.SetReadDeadline(time.Now().Add(lingerTime)) == nil {
		_, _ = io.Copy(io.Discard, struct{ io.Reader }{c.TCPConn}) // ends with the client's side, or the deadline
	}
	return c.TCPConn.Close()
}

// CloseUnread ends the connection after this reply: a part of the request is unread, and
// nobody knows which.
func CloseUnread(fh *fasthttp.RequestCtx) { closeUnread(fh) }

// closeUnread ends the connection after this reply, whatever of the request is
// on its way still.
func closeUnread(fh *fasthttp.RequestCtx) {
	fh.Response.Header.SetConnectionClose()
	c := fh.Conn()
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	if l, ok := c.(*lingeringConn); ok {
		l.unread.Store(true)
	}
}
