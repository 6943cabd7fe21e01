package schema

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"

	"github.com/trellisdb/trellis/storage/fault"
)

// Convert makes of one JSON value what a declared class wants: a number sent
// for a string becomes its decimal text, a numeric string sent for an integer a
// number, "true" and "false" sent for a boolean that. raw is valid JSON without
// white space around it; it is returned itself if nothing changes, and always
// for null and undeclared properties. What cannot become the class is
// PropertyTypeConversion.
func Convert(property string, class Class, raw []byte) ([]byte, error) {
	if class == Undeclared || len(raw) == 0 || raw[0] == 'n' {
		return raw, nil
	}
	switch kind := raw[0]; {
	case class == String && kind == '"':
		return raw, nil
	case class == String && number(kind):
		return append(append([]byte{'"'}, raw...), '"'), nil
	case class == Integer && number(kind):
		return integer(property, string(raw), raw)
	case class == Boolean && (kind == 't' || kind == 'f'):
		return raw, nil
	case class != String && kind == '"':
		var text string
		if err := json.Unmarshal(raw, &text); err != nil {
			return nil, fault.Wrap(err, fault.JSONParse, "property %q is not valid JSON", property)
		}
		text = strings.TrimSpace(text)
		switch {
		case text == "": // removes the property, as everywhere
			return raw, nil
		case class == Integer:
			return integer(property, text, nil)
		case strings.EqualFold(text, "true"):
			return []byte("true"), nil
		case strings.EqualFold(text, "false"):
			return []byte("false"), nil
		}
	}
	return nil, notConvertible(property, class)
}

func number(first byte) bool { return first == '-' || (first >= '0' && first <= '9') }

// integer returns text as a JSON integer, or same if it is written as one.
func integer(property, text string, same []byte) ([]byte, error) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		if same != nil {
			return same, nil
		}
		return strconv.AppendInt(nil, n, 10), nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) >= 1<<63 {
		return nil, notConvertible(property, Integer)
	}
	return strconv.AppendInt(nil, int64(f), 10), nil
}

func notConvertible(property string, class Class) error {
	want := map[Class]string{String: "a string", Integer: "an integer", Boolean: "a boolean"}[class]
	return fault.New(fault.PropertyTypeConversion, "the value of property %q cannot be converted to %s", property, want)
}
