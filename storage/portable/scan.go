package portable

import (
	"bufio"
	"errors"
	"hash"
	"io"

	"github.com/trellisdb/trellis/storage/fault"
)

// scanner takes JSON objects out of a stream, one after the other: those of an array,
// or with nothing but white space and commas between them. It does not look into them.
type scanner struct {
	r      *bufio.Reader
	sum    hash.Hash // of everything before the object at hand; nil: nobody asks
	object []byte
	at     uint64 // bytes up to the end of the object
	number uint64 // of the object
}

func newScanner(r io.Reader) *scanner { return &scanner{r: bufio.NewReaderSize(r, 64<<10)} }

func malformed(number uint64, format string, args ...any) *fault.Error {
	f := fault.New(fault.JSONParse, format, args...)
	f.Message = lineText(number) + f.Message
	return f
}

// next returns the next object, which lives until the one after it, or io.EOF.
func (s *scanner) next() ([]byte, error) {
	if s.sum != nil {
		_, _ = s.sum.Write(s.object) // never fails
	}
	if s.object = s.object[:0]; cap(s.object) > 1<<20 {
		s.object = nil
	}
	for {
		c, err := s.r.ReadByte()
		if err != nil {
			if errors.Is(err, io.EOF) {
				return nil, io.EOF
			}
			return nil, err
		}
		s.at++
		if c == '{' {
			s.number++
			s.object = append(s.object, c)
			return s.object, s.rest()
		}
		if s.sum != nil {
			_, _ = s.sum.Write([]byte{c})
		}
		switch c {
		case ' ', '\t', '\r', '\n', ',', '[', ']':
		default:
			return nil, malformed(s.number+1, "there are JSON objects only, not %q", c)
		}
	}
}

// rest reads an object to its end.
func (s *scanner) rest() error {
	depth, quoted, escaped := 1, false, false
	for depth > 0 {
		if len(s.object) >= MaxObject {
			return malformed(s.number, "an object is longer than %d bytes", MaxObject)
		}
		if _, err := s.r.Peek(1); err != nil {
			if errors.Is(err, io.EOF) {
				return malformed(s.number, "the file is cut: an object does not end")
			}
			return err
		}
		chunk, _ := s.r.Peek(min(s.r.Buffered(), MaxObject-len(s.object)))
		n := 0
		for n < len(chunk) && depth > 0 {
			c := chunk[n]
			n++
			switch {
			case escaped:
				escaped = false
			case quoted && c == '\\':
				escaped = true
			case c == '"':
				quoted = !quoted
			case quoted:
			case c == '{', c == '[':
				depth++
			case c == '}', c == ']':
				depth--
			}
		}
		s.object = append(s.object, chunk[:n]...)
		_, _ = s.r.Discard(n) // it was there
		s.at += uint64(n)
	}
	return nil
}
