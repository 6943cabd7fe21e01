package wire

import (
	"encoding/json"
	"strconv"
	"unicode/utf8"

	"github.com/valyala/fastjson"

	"github.com/trellisdb/trellis/storage/fault"
)

// MaxDepth is the deepest nesting of a JSON body.
const MaxDepth = 100

// CheckJSON reports whether b is one JSON text (RFC 8259) in UTF-8, at most
// MaxDepth deep, with numbers that a float64 can hold: JSONParse otherwise.
// What passes can be walked with a lenient parser.
func CheckJSON(b []byte) error {
	if err := checkDepth(b); err != nil {
		return err
	}
	if !utf8.Valid(b) {
		return fault.New(fault.JSONParse, "body is not UTF-8")
	}
	if !json.Valid(b) {
		return fault.New(fault.JSONParse, "body is not valid JSON")
	}
	return checkNumbers(b)
}

// checkDepth runs before the parser proper, so that it bounds its stack.
func checkDepth(b []byte) error {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			i = endOfString(b, i)
		case '{', '[':
			if depth++; depth > MaxDepth {
				return fault.New(fault.JSONParse, "body is nested more than %d levels deep", MaxDepth)
			}
		case '}', ']':
			depth--
		}
	}
	return nil
}

// endOfString returns the index of the quote that closes the string opened at
// b[i], or the last index of b.
func endOfString(b []byte, i int) int {
	for i++; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return len(b) - 1
}

// checkNumbers looks at the numbers of a valid text: those that are long or
// have an exponent may be out of range.
func checkNumbers(b []byte) error {
	for i := 0; i < len(b); i++ {
		c := b[i]
		if c == '"' {
			i = endOfString(b, i)
			continue
		}
		if c != '-' && (c < '0' || c > '9') {
			continue
		}
		start, exponent := i, false
		for ; i < len(b); i++ {
			if c = b[i]; c == 'e' || c == 'E' {
				exponent = true
			} else if c != '+' && c != '-' && c != '.' && (c < '0' || c > '9') {
				break
			}
		}
		number := b[start:i]
		i--
		if !exponent && len(number) < 300 {
			continue
		}
		if len(number) > 1024 {
			return fault.New(fault.JSONParse, "number has more than 1024 digits")
		}
		if _, err := strconv.ParseFloat(string(number), 64); err != nil {
			return fault.New(fault.JSONParse, "number %.40s is out of range", number)
		}
	}
	return nil
}

const hexDigits = "0123456789abcdef"

// AppendString appends s as a JSON string. Bytes that are not UTF-8 become
// U+FFFD; characters that end a script or a line in JavaScript are escaped.
func AppendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\' && c != '<' {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if (r != utf8.RuneError || n > 1) && r != '\u2028' && r != '\u2029' {
				i += n
				continue
			}
			dst = append(dst, s[from:i]...)
			if r == utf8.RuneError {
				dst = append(dst, "\uFFFD"...)
			} else {
				dst = append(dst, `\u202`...)
				dst = append(dst, hexDigits[r&0xf])
			}
			i += n
			from = i
			continue
		}
		dst = append(dst, s[from:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xf])
		}
		i++
		from = i
	}
	dst = append(dst, s[from:]...)
	return append(dst, '"')
}

// AppendValue appends a parsed value as compact JSON. The parser's own MarshalTo quotes
// texts as Go does: what it makes of control characters is no JSON. Objects keep their
// order, and names that they have twice.
func AppendValue(dst []byte, v *fastjson.Value) []byte {
	switch v.Type() {
	case fastjson.TypeString:
		return AppendString(dst, string(v.GetStringBytes()))
	case fastjson.TypeArray:
		dst = append(dst, '[')
		for i, element := range v.GetArray() {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = AppendValue(dst, element)
		}
		return append(dst, ']')
	case fastjson.TypeObject:
		dst = append(dst, '{')
		first := true
		v.GetObject().Visit(func(key []byte, value *fastjson.Value) {
			if !first {
				dst = append(dst, ',')
			}
			first = false
			dst = AppendValue(append(AppendString(dst, string(key)), ':'), value)
		})
		return append(dst, '}')
	}
	return v.MarshalTo(dst) // of numbers, booleans and null, as they were read
}
