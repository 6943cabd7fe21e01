package wire

import (
	"strings"
	"unicode/utf8"

	"github.com/trellisdb/trellis/storage/fault"
)

// Bounds of a path.
const maxSegments = 64

// splitPath splits the path of a request target, as the client sent it, into
// its decoded segments. Empty segments are left out; a dot segment is a name
// like any other, nothing is resolved. Each segment is decoded once, after the
// split, so an encoded slash belongs to the segment. IllegalArgument: a broken
// escape, a NUL, bytes that are not UTF-8, too many segments.
func splitPath(dst []string, path string) ([]string, error) {
	for len(path) > 0 {
		segment := path
		if i := strings.IndexByte(path, '/'); i >= 0 {
			segment, path = path[:i], path[i+1:]
		} else {
			path = ""
		}
		if segment == "" {
			continue
		}
		if len(dst) == maxSegments {
			return nil, fault.New(fault.IllegalArgument, "path has more than %d segments", maxSegments)
		}
		decoded, ok := unescape(segment, false)
		if !ok {
			return nil, fault.New(fault.IllegalArgument, "path segment %d is not percent-encoded UTF-8", len(dst)+1)
		}
		dst = append(dst, decoded)
	}
	return dst, nil
}

// unescape decodes percent escapes, and plus signs as spaces if plus is set.
// It reports false for a broken escape, a NUL, or text that is not UTF-8.
func unescape(s string, plus bool) (string, bool) {
	clean := true
	for i := 0; i < len(s); i++ {
		if c := s[i]; c == '%' || c == 0 || c >= utf8.RuneSelf || (plus && c == '+') {
			clean = false
			break
		}
	}
	if clean {
		return s, true
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '%':
			if i+2 >= len(s) {
				return "", false
			}
			hi, ok1 := hexDigit(s[i+1])
			lo, ok2 := hexDigit(s[i+2])
			if !ok1 || !ok2 {
				return "", false
			}
			c = hi<<4 | lo
			i += 2
		case c == '+' && plus:
			c = ' '
		}
		if c == 0 {
			return "", false
		}
		out = append(out, c)
	}
	if !utf8.Valid(out) {
		return "", false
	}
	return string(out), true
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
