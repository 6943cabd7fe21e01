package rpc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// Spooled is the content of a partition on its way to another node. Whoever gets
// it closes it.
type Spooled struct {
	io.ReadCloser
	Size int64 // exactly
}

const (
	pathSpool = "/spool"

	// spoolTimeout bounds how long a node may need to write a large partition to
	// its disk before the first byte of it comes; pieceTimeout how long a piece
	// of the stream may take after that, also while whoever it is for is slow.
	spoolTimeout = time.Hour
	pieceTimeout = 2 * time.Minute
	pieceBytes   = 256 << 10
)

// spool answers with a whole partition, as long as that takes.
func (s *Server) spool(fh *fasthttp.RequestCtx) {
	var p entity.Partition
	if err := json.Unmarshal(fh.PostBody(), &p); err != nil {
		fh.Error("damaged message", fasthttp.StatusBadRequest)
		return
	}
	content, err := s.services.Spool(s.ctx, p)
	if err != nil {
		refuse(fh, err)
		return
	}
	fh.SetConnectionClose() // the other side made the connection for this alone
	fh.Response.SetBodyStream(&pieces{body: content.ReadCloser, conn: fh.Conn()}, int(content.Size))
}

// pieces lets each piece of a stream have the time that the server gives to a
// whole answer.
type pieces struct {
	body io.ReadCloser
	conn net.Conn
}

// SupportsBodyWriteTo tells fasthttp that WriteTo does all that Read does.
func (p *pieces) SupportsBodyWriteTo() bool { return true }

// Read implements io.Reader.
func (p *pieces) Read(b []byte) (int, error) {
	n, err := p.body.Read(b)
	if n > 0 {
		if late := p.conn.SetWriteDeadline(time.Now().Add(pieceTimeout)); late != nil {
			return 0, late
		}
	}
	return n, err
}

// WriteTo implements io.WriterTo.
func (p *pieces) WriteTo(w io.Writer) (int64, error) {
	return io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{p}, make([]byte, pieceBytes))
}

// Close closes the stream.
func (p *pieces) Close() error { return p.body.Close() }

// Spool asks a node for its copy of a partition, with all that was acknowledged
// before the question. The stream ends early if ctx does. Faults: NotHere,
// NoQuorum, Overloaded.
func (c *Client) Spool(ctx context.Context, p entity.Partition) (Spooled, error) {
	body, err := json.Marshal(p)
	if err != nil {
		return Spooled{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &spoolStream{cancel: cancel, idle: time.AfterFunc(spoolTimeout, cancel)}
	s.transport.DisableKeepAlives = true
	s.transport.DialContext = func(context.Context, string, string) (net.Conn, error) { return c.dial() }
	size, err := s.begin(ctx, body)
	if err != nil {
		return Spooled{}, errors.Join(fmt.Errorf("call %s: %w", pathSpool, err), s.Close())
	}
	return Spooled{ReadCloser: s, Size: size}, nil
}

// spoolStream is an answer being read, and the connection it comes over.
type spoolStream struct {
	transport http.Transport
	body      io.ReadCloser
	idle      *time.Timer // ends the stream
	cancel    context.CancelFunc
}

func (s *spoolStream) begin(ctx context.Context, question []byte) (size int64, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://peer"+pathSpool, bytes.NewReader(question))
	if err != nil {
		return 0, err
	}
	resp, err := s.transport.RoundTrip(req) //nolint:bodyclose // Close does
	if err != nil {
		return 0, err
	}
	s.body = resp.Body
	if resp.StatusCode == http.StatusOK && resp.ContentLength > 0 {
		return resp.ContentLength, nil
	}
	var f wireFault
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<16)).Decode(&f); err != nil || resp.StatusCode != statusFault {
		return 0, errors.Join(fmt.Errorf("status %s, length %d", resp.Status, resp.ContentLength), err)
	}
	return 0, fault.New(f.Code, "%s", f.Message)
}

// Read implements io.Reader.
func (s *spoolStream) Read(b []byte) (int, error) {
	s.idle.Reset(pieceTimeout)
	defer s.idle.Stop() // who reads may take his time
	return s.body.Read(b)
}

// Close ends the connection.
func (s *spoolStream) Close() error {
	s.idle.Stop()
	s.cancel()
	if s.body == nil {
		return nil
	}
	err := s.body.Close()
	s.transport.CloseIdleConnections()
	return err
}
