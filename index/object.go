package index

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"

	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// Property is one member of a JSON object. Its bytes are lent: they are those
// of the object.
type Property struct {
	Key   []byte // as written, with its quotes
	Value []byte // as written
}

// Object walks the members of a compact JSON object in the order they are
// written. It looks at nothing below the top level, so values pass through it
// as the bytes they are. It is made for JSON that was checked before: of
// anything else it says that it is damaged, or walks it, but never panics.
type Object struct {
	rest  []byte
	first bool
	err   error
}

// NewObject begins a walk over json, which must not change meanwhile.
func NewObject(json []byte) Object {
	if len(json) < 2 || json[0] != '{' || json[len(json)-1] != '}' {
		return Object{err: damaged()}
	}
	return Object{rest: json[1 : len(json)-1], first: true}
}

func damaged() error { return fault.New(fault.IllegalArgument, "not a compact JSON object") }

// Next returns the next member; false after the last, or if the object is damaged.
func (o *Object) Next() (Property, bool) {
	if o.err != nil || len(o.rest) == 0 {
		return Property{}, false
	}
	b := o.rest
	if !o.first {
		if b[0] != ',' {
			return o.damaged()
		}
		b = b[1:]
	}
	o.first = false
	key := stringEnd(b)
	if key < 0 || key >= len(b) || b[key] != ':' {
		return o.damaged()
	}
	size := valueEnd(b[key+1:])
	if size <= 0 {
		return o.damaged()
	}
	end := key + 1 + size
	o.rest = b[end:]
	return Property{Key: b[:key:key], Value: b[key+1 : end : end]}, true
}

func (o *Object) damaged() (Property, bool) {
	o.err = damaged()
	return Property{}, false
}

// Err returns what ended the walk early, or nil.
func (o *Object) Err() error { return o.err }

// stringEnd returns the length of the string b begins with, or -1.
func stringEnd(b []byte) int {
	if len(b) == 0 || b[0] != '"' {
		return -1
	}
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

// valueEnd returns the length of the value b begins with, or -1.
func valueEnd(b []byte) int {
	if len(b) == 0 {
		return -1
	}
	switch b[0] {
	case '"':
		return stringEnd(b)
	case '{', '[':
		return nestEnd(b)
	}
	for i, c := range b {
		switch c {
		case ',':
			return i
		case '"', ':', '{', '}', '[', ']', ' ', '\t', '\n', '\r':
			return -1
		}
	}
	return len(b)
}

// nestEnd returns the length of the object or array b begins with, or -1.
func nestEnd(b []byte) int {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			n := stringEnd(b[i:])
			if n < 0 {
				return -1
			}
			i += n - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return -1
}

// Name returns the folded key: members with equal names are one property.
func (p Property) Name() string { return keys.Fold(unquote(p.Key)) }

// Is reports whether name, which is folded, is the name of the property.
func (p Property) Is(name string) bool {
	key := p.Key[1 : len(p.Key)-1]
	for i, c := range key {
		if c == '\\' || c >= utf8.RuneSelf {
			return p.Name() == name
		}
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if i >= len(name) || name[i] != c {
			return false
		}
	}
	return len(key) == len(name)
}

// Removes reports whether the value stands for none: null or "".
func (p Property) Removes() bool {
	return string(p.Value) == "null" || string(p.Value) == `""`
}

// Text returns the value if it is a string.
func (p Property) Text() (string, bool) {
	if len(p.Value) < 2 || p.Value[0] != '"' {
		return "", false
	}
	return unquote(p.Value), true
}

// unquote returns what a JSON string says.
func unquote(quoted []byte) string {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1 : len(quoted)-1])
	}
	var s string
	if err := json.Unmarshal(quoted, &s); err != nil {
		return string(quoted[1 : len(quoted)-1]) // not JSON: as it stands
	}
	return s
}
