package provider

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
)

// Member is a member of a JSON object.
type Member struct {
	Name  string
	Value json.RawMessage
}

// Members reads a JSON object in the order it is written; of repeated names the last
// value counts. Values are slices of a copy of raw.
func Members(raw json.RawMessage) ([]Member, error) {
	var compact bytes.Buffer
	if err := json.Compact(&compact, raw); err != nil {
		return nil, err
	}
	d := json.NewDecoder(&compact)
	if first, err := d.Token(); err != nil || first != json.Delim('{') {
		return nil, errors.Join(errors.New("it is no object"), err)
	}
	var members []Member
	at := map[string]int{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, err
		}
		m := Member{Name: name.(string)}
		if err := d.Decode(&m.Value); err != nil {
			return nil, err
		}
		if i, ok := at[m.Name]; ok {
			members[i].Value = m.Value
			continue
		}
		at[m.Name] = len(members)
		members = append(members, m)
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the object")
	}
	return members, nil
}

// Find returns the value of a member; nil: there is none.
func Find(members []Member, name string) json.RawMessage {
	for _, m := range members {
		if m.Name == name {
			return m.Value
		}
	}
	return nil
}

// Object writes members as a JSON object.
func Object(members []Member) json.RawMessage {
	out := []byte{'{'}
	for i, m := range members {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, Marshal(m.Name)...)
		out = append(out, ':')
		out = append(out, m.Value...)
	}
	return append(out, '}')
}

// Marshal writes a value as JSON, without escapes that only HTML needs. What cannot
// be written, a function say, is null; strings, numbers and maps of them always can.
func Marshal(value any) json.RawMessage {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		return json.RawMessage("null")
	}
	return bytes.TrimRight(out.Bytes(), "\n")
}

// JSONText reads a JSON string; false: it is something else.
func JSONText(raw json.RawMessage) (string, bool) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || raw[0] != '"' {
		return "", false
	}
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return "", false
	}
	return text, true
}

// IsObject tells whether raw, which is JSON, is an object.
func IsObject(raw json.RawMessage) bool {
	raw = bytes.TrimSpace(raw)
	return len(raw) > 0 && raw[0] == '{'
}

// Shown is JSON as a receipt shows it: an object as it is, anything else as the member
// payload of one.
func Shown(raw json.RawMessage) json.RawMessage {
	if IsObject(raw) {
		return raw
	}
	return Object([]Member{{Name: "payload", Value: raw}})
}

// MaxTokenBytes bounds Token.Text of tokens that are strings: more than any service's.
const MaxTokenBytes = 4 << 10

// TextToken reads a token that is a string: what most providers' Token does. One that is
// too long is cut: no service knows what is left of it.
func TextToken(value json.RawMessage) (Token, bool) {
	text, ok := JSONText(value)
	if len(text) > MaxTokenBytes {
		text = strings.ToValidUTF8(text[:MaxTokenBytes], "")
	}
	return Token{Text: text, Shown: text}, ok && text != ""
}
