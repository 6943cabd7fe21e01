package collections

import (
	"encoding/json"
	"errors"
	"net/url"
	"strconv"
	"strings"

	"github.com/trellisdb/trellis/query/ql"
	"github.com/trellisdb/trellis/storage/fault"
)

const (
	defaultLimit     = 10
	connectionsLimit = 1000 // of the targets at the end of a path, where the client says nothing
	maxLimit         = 1000
)

// limitOf reads a limit as clients write it, never an error: absent is what stands
// for none, zero or nonsense.
func limitOf(text string, absent int) int {
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	switch {
	case err != nil && errors.Is(err, strconv.ErrRange) && n > 0:
		return maxLimit
	case err != nil || n <= 0:
		return absent
	case n > maxLimit:
		return maxLimit
	}
	return int(n)
}

// params are the parameters of one step of a path: those in the segment itself,
// and for the last step those of the query string.
type params struct {
	own   []param
	every bool                                        // the path says that it is for every entity
	rest  interface{ QueryAll(name string) []string } // nil: none
}

type param struct{ name, value string }

// all returns every value of a parameter; what the segment says goes first.
func (p *params) all(name string) []string {
	var values []string
	for _, own := range p.own {
		if own.name == name {
			values = append(values, own.value)
		}
	}
	if values == nil && p.rest != nil {
		values = p.rest.QueryAll(name)
	}
	return values
}

func (p *params) first(name string) string {
	if values := p.all(name); len(values) > 0 {
		return values[0]
	}
	return ""
}

func (p *params) is(name, value string) bool { return strings.EqualFold(p.first(name), value) }

// selects reports whether one of the parameters is there that make a change of a
// collection one of what a query selects.
func (p *params) selects() bool {
	if p.every {
		return true
	}
	for _, name := range []string{"ql", "q", "query", "limit", "filter", "cursor"} {
		if len(p.all(name)) > 0 {
			return true
		}
	}
	return false
}

// stepParams are the parameters that a segment of a path may carry.
var stepParams = []string{"ql", "q", "query", "limit", "cursor", "reversed", "filter", "start"}

// cutMatrix takes the matrix parameters off a segment: "likes;limit=5".
func cutMatrix(segment string) (string, []param) {
	if strings.IndexByte(segment, ';') < 0 {
		return segment, nil
	}
	var own []param
	for {
		at, name := -1, ""
		for _, n := range stepParams { // values may hold semicolons: only names that are known begin a parameter
			if i := strings.LastIndex(segment, ";"+n+"="); i > at {
				at, name = i, n
			}
		}
		if at < 0 {
			return segment, own
		}
		own = append(own, param{name, segment[at+len(name)+2:]})
		segment = segment[:at]
	}
}

// jsonParams reads a segment that is a JSON object of parameters.
func jsonParams(segment string) ([]param, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal([]byte(segment), &members); err != nil {
		return nil, fault.New(fault.IllegalArgument, "a path segment that begins with { must be a JSON object")
	}
	var own []param
	for _, name := range stepParams {
		raw, ok := members[name]
		if !ok {
			continue
		}
		var text string
		if json.Unmarshal(raw, &text) != nil {
			text = string(raw) // a number, or a boolean
		}
		own = append(own, param{name, text})
	}
	return own, nil
}

// query parses the query that parameters ask for: its text, and what filter adds.
func (p *params) query() (*ql.Query, error) {
	q, err := parseQuery(p.text())
	if err != nil {
		return nil, err
	}
	for _, text := range p.all("filter") {
		condition, err := ql.ParseCondition(plus(text))
		if err != nil {
			return nil, err
		}
		if err := q.Restrict(condition); err != nil {
			return nil, err
		}
	}
	return q, nil
}

// text is the query text.
func (p *params) text() string {
	for _, name := range []string{"ql", "q", "query"} {
		if values := p.all(name); len(values) > 0 && values[0] != "" {
			return values[0]
		}
	}
	return ""
}

// parseQuery parses query text as clients send it: * for everything, and encoded
// once more than it should be.
func parseQuery(text string) (*ql.Query, error) {
	q, err := ql.Parse(every(plus(text)))
	if err == nil || !strings.Contains(text, "%") {
		return q, err
	}
	if once, unescapeErr := url.QueryUnescape(text); unescapeErr == nil && once != text {
		if q, again := ql.Parse(every(once)); again == nil {
			return q, nil
		}
	}
	return nil, err
}

// every is the text of a query for everything, if that is what * stands for.
func every(text string) string {
	if strings.TrimSpace(text) == "*" {
		return ""
	}
	return text
}

// plus lets a plus stand that was protected once more than needed.
func plus(text string) string {
	if !strings.Contains(text, "%2") {
		return text
	}
	return strings.NewReplacer("%2B", "+", "%2b", "+").Replace(text)
}

// warning is a limit that a query would break if limits were enforced.
type warning struct {
	Violation string `json:"violation"`
	Limit     int    `json:"limit"`
	Actual    int    `json:"actual"`
}

// warnings are what the query breaker has to say of a query.
func warnings(q *ql.Query) []warning {
	const most = 8
	list := []warning{}
	if n := len(q.Order); n > most {
		list = append(list, warning{"sort_predicate_count_exceeded", most, n})
	}
	if n := operands(q.Where); n > most {
		list = append(list, warning{"operand_count_exceeded", most, n})
	}
	return list
}

// operands counts comparisons, and, or and not of a condition.
func operands(n ql.Node) int {
	sum := func(list []ql.Node) int {
		total := len(list) - 1
		for _, of := range list {
			total += operands(of)
		}
		return total
	}
	switch n := n.(type) {
	case nil:
		return 0
	case *ql.And:
		return sum(n.List)
	case *ql.Or:
		return sum(n.List)
	case *ql.Not:
		return 1 + operands(n.Of)
	}
	return 1
}
