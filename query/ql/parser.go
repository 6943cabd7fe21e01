package ql

import (
	"math"
	"unicode/utf8"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

const (
	maxDepth  = 500  // levels of parentheses and not
	maxDirect = 1000 // targets of direct
)

// start is the position of the first character.
var start = Position{Line: 1, Column: 1}

// Parse reads the text of a query. Without "select" at its beginning, "where"
// and "order by" mean "select *", and anything else is a condition; an empty
// text means every entity. What follows a complete query is ignored as long as
// it consists of tokens.
func Parse(text string) (*Query, error) {
	p, err := newParser(text)
	if err != nil {
		return nil, err
	}
	return p.query()
}

// ParseCondition reads a text that is one condition and nothing else, without
// "where" and "direct". An empty text has no condition: nil.
func ParseCondition(text string) (Node, error) {
	p, err := newParser(text)
	if err != nil || p.tok.kind == tokEnd {
		return nil, err
	}
	n, err := p.disjunction()
	if err == nil && p.tok.kind != tokEnd {
		return nil, unexpected(p.tok)
	}
	return n, err
}

// parser has a method for each rule of the grammar. A method begins with tok at
// the first token of its rule and ends with tok behind the last.
type parser struct {
	lex   lexer
	tok   token
	depth int // levels of parentheses and not around tok
}

func newParser(text string) (*parser, error) {
	if !utf8.ValidString(text) {
		return nil, notUTF8(text)
	}
	p := &parser{lex: lexer{rest: text, at: start}}
	p.take()
	return p, nil
}

// take returns tok and moves on.
func (p *parser) take() token {
	t := p.tok
	p.tok = p.lex.scan()
	return t
}

// accept takes tok if it is of kind k.
func (p *parser) accept(k kind) bool {
	if p.tok.kind != k {
		return false
	}
	p.take()
	return true
}

// expect takes a token of kind k; any other is an error.
func (p *parser) expect(k kind) (token, error) {
	if p.tok.kind != k {
		return token{}, unexpected(p.tok)
	}
	return p.take(), nil
}

// peek returns the kind of the token behind tok.
func (p *parser) peek() kind {
	ahead := p.lex
	return ahead.scan().kind
}

// descend enters a level of parentheses or not, which tok opens.
func (p *parser) descend() error {
	if p.depth == maxDepth {
		return refuse(p.tok, fault.QueryParse, "is nested too deep")
	}
	p.depth++
	p.take()
	return nil
}

// query = "select" projection [ [ "where" ] condition ] [ ordering ] [ ignored ] .
func (p *parser) query() (*Query, error) {
	q := &Query{}
	bare := p.bare()
	if p.accept(tokSelect) {
		if err := p.projection(q); err != nil {
			return nil, err
		}
	}
	if p.accept(tokWhere) || bare || p.beginsCondition() {
		if err := p.condition(q); err != nil {
			return nil, err
		}
	}
	if err := p.ordering(q); err != nil {
		return nil, err
	}
	return q, p.ignored()
}

// bare reports whether the text has to be a condition for want of any other
// beginning.
func (p *parser) bare() bool {
	switch p.tok.kind {
	case tokSelect, tokWhere, tokOrderBy, tokEnd:
		return false
	}
	return true
}

// beginsCondition reports whether tok begins a condition rather than what is
// ignored.
func (p *parser) beginsCondition() bool {
	return p.tok.kind == tokOpen || p.tok.kind == tokNot || isProperty(p.tok.kind)
}

// projection = "*" | name { "," name } | "{" renaming { "," renaming } "}" .
func (p *parser) projection(q *Query) error {
	switch {
	case p.accept(tokStar):
		return nil
	case p.accept(tokOpenBrace):
		q.Labeled = true
		if err := p.columns(q, p.renaming); err != nil {
			return err
		}
		_, err := p.expect(tokCloseBrace)
		return err
	}
	return p.columns(q, p.column)
}

// columns reads columns with commas between them.
func (p *parser) columns(q *Query, column func() (Column, error)) error {
	for {
		c, err := column()
		if err != nil {
			return err
		}
		q.Columns = append(q.Columns, c)
		if !p.accept(tokComma) {
			return nil
		}
	}
}

func (p *parser) column() (Column, error) {
	name, err := p.expect(tokName)
	return Column{Property: name.text}, err
}

// renaming = name ":" name .
func (p *parser) renaming() (Column, error) {
	label, err := p.expect(tokName)
	if err != nil {
		return Column{}, err
	}
	if _, err := p.expect(tokColon); err != nil {
		return Column{}, err
	}
	name, err := p.expect(tokName)
	return Column{Label: label.text, Property: name.text}, err
}

// condition = direct | disjunction .
//
// It is direct if a target follows; otherwise "direct" is a property.
func (p *parser) condition(q *Query) (err error) {
	if p.tok.kind == tokDirect {
		if k := p.peek(); k == tokName || k == tokUUID {
			q.Direct, err = p.direct()
			return err
		}
	}
	q.Where, err = p.disjunction()
	return err
}

// direct = "direct" target { "," target } .
//
// Nothing may be combined with it.
func (p *parser) direct() ([]string, error) {
	p.take()
	var targets []string
	for {
		if len(targets) == maxDirect {
			return nil, fault.New(fault.TooManyDirect, "The query lists more than %d entities after direct", maxDirect)
		}
		t, err := p.target()
		if err != nil {
			return nil, err
		}
		targets = append(targets, t)
		if !p.accept(tokComma) {
			break
		}
	}
	if p.tok.kind == tokAnd || p.tok.kind == tokOr {
		return nil, unexpected(p.tok)
	}
	return targets, nil
}

// target = name | uuid .
func (p *parser) target() (string, error) {
	switch p.tok.kind {
	case tokName:
		return p.take().text, nil
	case tokUUID:
		return literal(p.take()), nil
	}
	return "", unexpected(p.tok)
}

// disjunction = conjunction { ( "or" | "||" ) conjunction } .
func (p *parser) disjunction() (Node, error) {
	at := p.tok.at
	n, err := p.conjunction()
	if err != nil || p.tok.kind != tokOr {
		return n, err
	}
	list := appendTerms(nil, n)
	for p.accept(tokOr) {
		n, err := p.conjunction()
		if err != nil {
			return nil, err
		}
		list = appendTerms(list, n)
	}
	return &Or{List: list, At: at}, nil
}

// conjunction = negation { ( "and" | "&&" ) negation } .
func (p *parser) conjunction() (Node, error) {
	at := p.tok.at
	n, err := p.negation()
	if err != nil || p.tok.kind != tokAnd {
		return n, err
	}
	list := appendFactors(nil, n)
	for p.accept(tokAnd) {
		n, err := p.negation()
		if err != nil {
			return nil, err
		}
		list = appendFactors(list, n)
	}
	return &And{List: list, At: at}, nil
}

// negation = { "not" } primary .
func (p *parser) negation() (Node, error) {
	at, outside := p.tok.at, p.depth
	negated := false
	for p.tok.kind == tokNot {
		if err := p.descend(); err != nil {
			return nil, err
		}
		negated = !negated
	}
	n, err := p.primary()
	p.depth = outside
	if err != nil || !negated {
		return n, err
	}
	return negate(n, at), nil
}

// primary = "(" disjunction ")" | comparison | search | proximity .
func (p *parser) primary() (Node, error) {
	if p.tok.kind == tokOpen {
		return p.group()
	}
	at := p.tok.at
	property, err := p.property()
	if err != nil {
		return nil, err
	}
	switch {
	case p.accept(tokContains):
		return p.search(property, at)
	case p.accept(tokWithin):
		return p.proximity(property, at)
	}
	return p.comparison(property, at)
}

func (p *parser) group() (Node, error) {
	if err := p.descend(); err != nil {
		return nil, err
	}
	n, err := p.disjunction()
	if err != nil {
		return nil, err
	}
	p.depth--
	_, err = p.expect(tokClose)
	return n, err
}

// comparison = property operator value .
func (p *parser) comparison(property string, at Position) (Node, error) {
	op, err := p.operator()
	if err != nil {
		return nil, err
	}
	value, err := p.value()
	if err != nil {
		return nil, err
	}
	return &Compare{Property: property, Op: op, Value: value, At: at}, nil
}

// operator = "<" | "<=" | "=" | ">=" | ">" | "lt" | "lte" | "eq" | "gte" | "gt" .
func (p *parser) operator() (Op, error) {
	var op Op
	switch p.tok.kind {
	case tokEqual:
		op = Equal
	case tokLess:
		op = Less
	case tokLessEqual:
		op = LessEqual
	case tokGreater:
		op = Greater
	case tokGreaterEqual:
		op = GreaterEqual
	default:
		return 0, unexpected(p.tok)
	}
	p.take()
	return op, nil
}

// value = string | integer | decimal | boolean | uuid .
func (p *parser) value() (entity.Value, error) {
	switch p.tok.kind {
	case tokString, tokUUID:
		return entity.Value{Class: entity.StringClass, String: literal(p.take())}, nil
	case tokTrue, tokFalse:
		return entity.Value{Class: entity.BoolClass, Bool: p.take().kind == tokTrue}, nil
	case tokNumber:
		n, ok := entity.ParseNumber(p.tok.text)
		if !ok {
			return entity.Value{}, refuse(p.tok, fault.QueryParse, "is too large a number")
		}
		p.take()
		return entity.Value{Class: entity.NumberClass, Number: n}, nil
	}
	return entity.Value{}, unexpected(p.tok)
}

// search = property "contains" string .
func (p *parser) search(property string, at Position) (Node, error) {
	t, err := p.expect(tokString)
	if err != nil {
		return nil, err
	}
	return &Contains{Property: property, Text: literal(t), At: at}, nil
}

// proximity = property "within" number "of" number "," number .
func (p *parser) proximity(property string, at Position) (Node, error) {
	meters, err := p.number(0, math.MaxFloat64, "is no distance in metres")
	if err != nil {
		return nil, err
	}
	if _, err := p.expect(tokOf); err != nil {
		return nil, err
	}
	lat, err := p.number(-90, 90, "is no latitude from -90 to 90 degrees")
	if err != nil {
		return nil, err
	}
	if _, err := p.expect(tokComma); err != nil {
		return nil, err
	}
	lng, err := p.number(-180, 180, "is no longitude from -180 to 180 degrees")
	if err != nil {
		return nil, err
	}
	return &Within{Property: property, Meters: meters, Lat: lat, Lng: lng, At: at}, nil
}

// number = integer | decimal .
//
// Outside of low to high it is refused for the reason why.
func (p *parser) number(low, high float64, why string) (float64, error) {
	t, err := p.expect(tokNumber)
	if err != nil {
		return 0, err
	}
	n, ok := entity.ParseNumber(t.text)
	if !ok || n.Float < low || n.Float > high {
		return 0, refuse(t, fault.IllegalArgument, why)
	}
	return n.Float, nil
}

// ordering = "order by" sortkey { "," sortkey } .
//
// It is read and dropped after direct, which has an order of its own.
func (p *parser) ordering(q *Query) error {
	if !p.accept(tokOrderBy) {
		return nil
	}
	seen := map[string]bool{}
	for {
		name := p.tok
		key, err := p.sortKey()
		if err != nil {
			return err
		}
		if seen[key.Property] {
			return refuse(name, fault.QueryParse, "is already a sort key")
		}
		seen[key.Property] = true
		q.Order = append(q.Order, key)
		if !p.accept(tokComma) {
			break
		}
	}
	if q.Direct != nil {
		q.Order = nil
	}
	return nil
}

// sortkey = property [ "asc" | "desc" ] .
func (p *parser) sortKey() (SortKey, error) {
	property, err := p.property()
	if err != nil {
		return SortKey{}, err
	}
	desc := p.accept(tokDesc)
	if !desc {
		p.accept(tokAsc)
	}
	return SortKey{Property: property, Desc: desc}, nil
}

// property = name | "asc" | "desc" | "contains" | "within" | "direct" .
func (p *parser) property() (string, error) {
	if !isProperty(p.tok.kind) {
		return "", unexpected(p.tok)
	}
	return keys.Fold(p.take().text), nil
}

func isProperty(k kind) bool {
	switch k {
	case tokName, tokAsc, tokDesc, tokContains, tokWithin, tokDirect:
		return true
	}
	return false
}

// ignored = any further tokens .
func (p *parser) ignored() error {
	for p.tok.kind != tokEnd {
		switch p.tok.kind {
		case tokBadRune, tokBadEscape, tokOpenString:
			return unexpected(p.tok)
		}
		p.take()
	}
	return nil
}
