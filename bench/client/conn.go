package client

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// ErrNotSent marks a request of which no byte reached the server: it could not
// be connected to. Every other error leaves the outcome unknown.
var ErrNotSent = errors.New("request was not sent")

const (
	maxBodyBytes  = 64 << 20        // an answer above this is refused rather than stored
	seldomRenewed = 2 * time.Second // deadlines are moved this seldom: a timer per request costs more than it brings
)

// Conn is one keep-alive connection. It connects when first used and again
// after an error. It is not safe for concurrent use.
type Conn struct {
	addr    string
	timeout time.Duration
	renewal time.Duration // how seldom the deadline is moved

	nc      net.Conn
	br      *bufio.Reader
	body    []byte
	renewed time.Time
	watched string // lower-case name of the header to keep
	seen    string // its value in the last answer
}

// NewConn returns a connection to addr, not yet open. A request that takes
// longer than timeout, or a little more, fails.
func NewConn(addr string, timeout time.Duration) *Conn {
	return &Conn{addr: addr, timeout: timeout, renewal: min(seldomRenewed, timeout/2)}
}

// Watch makes Do keep one header of each answer for Watched.
func (c *Conn) Watch(header string) { c.watched = strings.ToLower(header) }

// Watched is the value of the watched header in the last answer, or "".
func (c *Conn) Watched() string { return c.seen }

// Close closes the connection; the next request opens a new one.
func (c *Conn) Close() error {
	if c.nc == nil {
		return nil
	}
	err := c.nc.Close()
	c.nc = nil
	return err
}

// Do sends one request and reads its answer. The body is valid until the next
// call. After an error the connection is closed.
func (c *Conn) Do(request []byte) (status int, body []byte, err error) {
	if c.nc == nil {
		if err := c.dial(); err != nil {
			return 0, nil, err
		}
	}
	if now := time.Now(); now.Sub(c.renewed) > c.renewal {
		if err := c.nc.SetDeadline(now.Add(c.timeout + c.renewal)); err != nil {
			return 0, nil, errors.Join(fmt.Errorf("set deadline: %w", err), c.Close())
		}
		c.renewed = now
	}
	if _, err := c.nc.Write(request); err != nil {
		return 0, nil, errors.Join(fmt.Errorf("send request: %w", err), c.Close())
	}
	head := bytes.HasPrefix(request, []byte("HEAD "))
	status, keep, err := c.read(head)
	if err != nil {
		return 0, nil, errors.Join(fmt.Errorf("read answer: %w", err), c.Close())
	}
	if !keep {
		if err := c.Close(); err != nil {
			return 0, nil, fmt.Errorf("close connection: %w", err)
		}
	}
	return status, c.body, nil
}

func (c *Conn) dial() error {
	nc, err := net.DialTimeout("tcp", c.addr, c.timeout)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotSent, err)
	}
	c.nc, c.renewed = nc, time.Time{}
	if c.br == nil {
		c.br = bufio.NewReaderSize(nc, 16<<10)
	} else {
		c.br.Reset(nc)
	}
	return nil
}

// line reads a header line without its end.
func (c *Conn) line() ([]byte, error) {
	l, err := c.br.ReadSlice('\n')
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return bytes.TrimRight(l, "\r\n"), nil
}

// read reads status line, headers and body. keep says whether the server
// leaves the connection open.
func (c *Conn) read(head bool) (status int, keep bool, err error) {
	l, err := c.line()
	if err != nil {
		return 0, false, err
	}
	if len(l) < 12 || !bytes.HasPrefix(l, []byte("HTTP/1.")) {
		return 0, false, fmt.Errorf("not a status line: %.40q", l)
	}
	status, err = strconv.Atoi(string(l[9:12]))
	if err != nil {
		return 0, false, fmt.Errorf("not a status line: %.40q", l)
	}
	length, chunked := -1, false
	keep, c.seen = l[7] == '1', ""
	for {
		l, err := c.line()
		if err != nil {
			return 0, false, err
		}
		if len(l) == 0 {
			break
		}
		if c.watched != "" {
			if v, ok := header(l, c.watched); ok {
				c.seen = string(v)
			}
		}
		switch l[0] | 0x20 {
		case 'c':
			if v, ok := header(l, "content-length"); ok {
				if length, err = strconv.Atoi(string(v)); err != nil || length < 0 || length > maxBodyBytes {
					return 0, false, fmt.Errorf("bad Content-Length %.40q", v)
				}
			} else if v, ok := header(l, "connection"); ok {
				keep = !bytes.EqualFold(v, []byte("close"))
			}
		case 't':
			if v, ok := header(l, "transfer-encoding"); ok {
				chunked = bytes.EqualFold(v, []byte("chunked"))
			}
		}
	}
	c.body = c.body[:0]
	switch {
	case head || status == 204 || status == 304 || status < 200:
		return status, keep, nil
	case chunked:
		return status, keep, c.readChunks()
	case length >= 0:
		return status, keep, c.readN(length)
	}
	return 0, false, errors.New("answer has neither Content-Length nor chunks")
}

// header gives the value of a header line if its name, in lower case, is name.
func header(line []byte, name string) ([]byte, bool) {
	if len(line) <= len(name) || line[len(name)] != ':' || !bytes.EqualFold(line[:len(name)], []byte(name)) {
		return nil, false
	}
	return bytes.TrimSpace(line[len(name)+1:]), true
}

// readN appends n bytes to the body.
func (c *Conn) readN(n int) error {
	start := len(c.body)
	if need := start + n; need > cap(c.body) {
		grown := make([]byte, start, need+need/4)
		copy(grown, c.body)
		c.body = grown
	}
	c.body = c.body[:start+n]
	_, err := io.ReadFull(c.br, c.body[start:])
	return err
}

func (c *Conn) readChunks() error {
	for {
		l, err := c.line()
		if err != nil {
			return err
		}
		if i := bytes.IndexByte(l, ';'); i >= 0 {
			l = l[:i]
		}
		n, err := strconv.ParseUint(string(bytes.TrimSpace(l)), 16, 31)
		if err != nil || len(c.body)+int(n) > maxBodyBytes {
			return fmt.Errorf("bad chunk size %.40q", l)
		}
		if n == 0 {
			break
		}
		if err := c.readN(int(n)); err != nil {
			return err
		}
		if l, err = c.line(); err != nil || len(l) != 0 {
			return fmt.Errorf("chunk of %d bytes does not end (%w)", n, err)
		}
	}
	for {
		l, err := c.line()
		if err != nil || len(l) == 0 {
			return err
		}
	}
}

// AppendRequest appends an HTTP/1.1 request. An empty token sends no
// Authorization, a nil body no Content-Type. Further headers are whole lines,
// "Name: value".
func AppendRequest(dst []byte, method, path, host, token string, body []byte, headers ...string) []byte {
	dst = append(dst, method...)
	dst = append(dst, ' ')
	dst = append(dst, path...)
	dst = append(dst, " HTTP/1.1\r\nHost: "...)
	dst = append(dst, host...)
	if token != "" {
		dst = append(dst, "\r\nAuthorization: Bearer "...)
		dst = append(dst, token...)
	}
	for _, h := range headers {
		dst = append(dst, "\r\n"...)
		dst = append(dst, h...)
	}
	if body != nil {
		dst = append(dst, "\r\nContent-Type: application/json\r\nContent-Length: "...)
		dst = strconv.AppendInt(dst, int64(len(body)), 10)
	}
	dst = append(dst, "\r\n\r\n"...)
	return append(dst, body...)
}
