package collections

import (
	"encoding/json"
)

// member is one member of a JSON object, as its bytes stand in the body.
type member struct {
	key   string // decoded
	quote []byte // the key as sent, with its quotes
	value []byte // without white space around it
}

// skipSpace returns the index of the next byte of text that is not white space.
func skipSpace(text []byte, i int) int {
	for i < len(text) && (text[i] == ' ' || text[i] == '\n' || text[i] == '\t' || text[i] == '\r') {
		i++
	}
	return i
}

// endOfString returns the index after the string that begins at text[i].
func endOfString(text []byte, i int) int {
	for i++; text[i] != '"'; i++ {
		if text[i] == '\\' {
			i++
		}
	}
	return i + 1
}

// endOfValue returns the index after the value that begins at text[i].
func endOfValue(text []byte, i int) int {
	switch text[i] {
	case '"':
		return endOfString(text, i)
	case '{', '[':
		for depth := 0; ; {
			switch text[i] {
			case '"':
				i = endOfString(text, i)
				continue
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
			i++
		}
	}
	for i < len(text) {
		switch text[i] {
		case ',', '}', ']', ' ', '\n', '\t', '\r':
			return i
		}
		i++
	}
	return i
}

// eachMember calls f for the members of a valid JSON object, in order.
func eachMember(object []byte, f func(member) error) error {
	i := skipSpace(object, skipSpace(object, 0)+1)
	for object[i] != '}' {
		end := endOfString(object, i)
		m := member{quote: object[i:end], key: decodeString(object[i:end])}
		i = skipSpace(object, skipSpace(object, end)+1) // over the colon
		end = endOfValue(object, i)
		m.value = object[i:end]
		if err := f(m); err != nil {
			return err
		}
		if i = skipSpace(object, end); object[i] == ',' {
			i = skipSpace(object, i+1)
		}
	}
	return nil
}

// eachElement calls f for the elements of a valid JSON array, in order.
func eachElement(array []byte, f func(value []byte) error) error {
	i := skipSpace(array, skipSpace(array, 0)+1)
	for array[i] != ']' {
		end := endOfValue(array, i)
		if err := f(array[i:end]); err != nil {
			return err
		}
		if i = skipSpace(array, end); array[i] == ',' {
			i = skipSpace(array, i+1)
		}
	}
	return nil
}

// decodeString returns what a valid JSON string stands for.
func decodeString(quoted []byte) string {
	for _, c := range quoted {
		if c == '\\' {
			var s string
			if json.Unmarshal(quoted, &s) == nil {
				return s
			}
			break
		}
	}
	return string(quoted[1 : len(quoted)-1])
}

// isEmpty reports whether a value means "no such property": null or "".
func isEmpty(value []byte) bool {
	return len(value) > 0 && value[0] == 'n' || string(value) == `""`
}
