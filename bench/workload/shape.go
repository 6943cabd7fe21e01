package workload

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"strconv"

	"github.com/trellisdb/trellis/bench/data"
)

// Shape is a kind of query, of which every request draws its own literals.
type Shape struct {
	Name       string
	Collection string
	Entities   int  // in the collection
	Pages      bool // a request is the next page, up to the last one of a query
	First      bool // its first page ought to cost the same whatever the size of the collection
	Indexed    bool // indexes ought to answer it by themselves

	limit int
	draw  func(*rand.Rand) question
}

// question is one query of a shape.
type question struct {
	path  string // below the application, if it is no query: with what follows the question mark
	ql    string
	each  string // what each row of the answer holds
	least int    // rows the first page has at least
}

// pathOf is the path of a question below the application, without a cursor.
func (s *Shape) pathOf(q question) string {
	if q.path != "" {
		return q.path
	}
	path := "/" + url.PathEscape(s.Collection) + "?limit=" + strconv.Itoa(s.limit)
	if q.ql != "" {
		path += "&ql=" + url.QueryEscape(q.ql)
	}
	return path
}

// quote makes a string of the query language.
func quote(s string) string {
	quoted := []byte{'\''}
	for i := range len(s) {
		if s[i] == '\'' || s[i] == '\\' {
			quoted = append(quoted, '\\')
		}
		quoted = append(quoted, s[i])
	}
	return string(append(quoted, '\''))
}

func always(q question) func(*rand.Rand) question { return func(*rand.Rand) question { return q } }

// Names of the shapes that aims are stated for.
const (
	Equal          = "equality, order by another desc"
	EqualOrdered   = Equal + withComposite
	FirstHundred   = "first page of 100"
	EveryHundred   = "all pages of 100"
	WithoutIndexes = "pattern that no index helps"

	withComposite    = ", composite index"
	withoutComposite = ", no composite index"
)

// common is how many of the most frequent words count as common, and rare from
// which on they count as rare.
const (
	common = 8
	rare   = 4000
)

// Hello is the least the server itself can do for an application.
func Hello() Shape {
	return Shape{Name: "hello of the server", draw: always(question{path: "/hello"})}
}

// Unordered lists the shapes that a composite index serves, under names that
// say it is not there: they are for a collection that has none.
func Unordered(collection string, entities int) []Shape {
	shapes := equalOrdered(collection, entities)
	for i := range shapes {
		shapes[i].Name += withoutComposite
		shapes[i].First, shapes[i].Indexed = false, false
	}
	return shapes
}

func equalOrdered(collection string, entities int) []Shape {
	return []Shape{
		{Name: Equal, draw: func(rng *rand.Rand) question {
			v := data.Statuses()[rng.IntN(5)]
			return question{ql: "status = " + quote(v) + " order by score desc", each: `"status":"` + v + `"`, least: min(10, entities/10)}
		}, Collection: collection, Entities: entities, limit: 10, First: true, Indexed: true},
		{Name: "rarer equality, order by another desc", draw: func(rng *rand.Rand) question {
			v := data.Category(rng.IntN(data.Categories))
			return question{ql: "category = " + quote(v) + " order by score desc", each: `"category":"` + v + `"`, least: min(10, entities/200)}
		}, Collection: collection, Entities: entities, limit: 10, First: true, Indexed: true},
	}
}

// Composites are the composite indexes that RecordShapes expects.
func Composites() [][]string {
	return [][]string{{"status", "score desc"}, {"category", "score desc"}}
}

// RecordShapes lists the shapes over a collection of records that has composite
// indexes. ids are uuids of some of them.
func RecordShapes(r *data.Records, collection string, entities int, ids []string) []Shape {
	// A range of ranks or scores that holds about so many records.
	ranks := func(rng *rand.Rand, records int) (from, to int) {
		width := min(data.RankBound-1, int(int64(data.RankBound)*int64(records)/int64(entities)))
		from = rng.IntN(data.RankBound - width)
		return from, from + width
	}
	scores := func(rng *rand.Rand, records int) (from, to float64) {
		width := min(1, float64(records)/float64(entities)) * data.ScoreBound
		from = rng.Float64() * (data.ScoreBound - width)
		return from, from + width
	}
	rangeOf := func(suffix string) func(rng *rand.Rand) question {
		return func(rng *rand.Rand) question {
			from, to := ranks(rng, 1000)
			return question{ql: fmt.Sprintf("rank >= %d and rank < %d%s", from, to, suffix)}
		}
	}
	path := "/" + url.PathEscape(collection)
	shapes := []Shape{
		{Name: "GET by uuid", Indexed: true, First: true, draw: func(rng *rand.Rand) question {
			id := ids[rng.IntN(len(ids))]
			return question{path: path + "/" + id, each: id, least: 1}
		}},
		{Name: "equality of a unique name", Indexed: true, First: true, limit: 10, draw: func(rng *rand.Rand) question {
			name := r.Name(rng.Uint64N(uint64(entities)))
			return question{ql: "name = " + quote(name), each: `"name":"` + name + `"`, least: 1}
		}},
		{Name: "first page of 10", Indexed: true, First: true, limit: 10, draw: always(question{least: min(10, entities)})},
		{Name: FirstHundred, Indexed: true, First: true, limit: 100, draw: always(question{least: min(100, entities)})},
		{Name: EveryHundred, Indexed: true, limit: 100, Pages: true, draw: always(question{least: min(100, entities)})},
	}
	for _, s := range equalOrdered(collection, entities) {
		s.Name += withComposite
		shapes = append(shapes, s)
	}
	shapes = append(shapes, []Shape{
		{Name: "range in its order", Indexed: true, First: true, limit: 10, draw: rangeOf(" order by rank")},
		{Name: "range in its order, all pages of 100", Indexed: true, limit: 100, Pages: true, draw: rangeOf(" order by rank")},
		{Name: "range, newest first", Indexed: true, First: true, limit: 10, draw: rangeOf("")},
		{Name: "range, newest first, all pages of 100", Indexed: true, limit: 100, Pages: true, draw: rangeOf("")},
		{Name: "contains a rare word", Indexed: true, First: true, limit: 10, draw: func(rng *rand.Rand) question {
			w := data.Word(rare + rng.IntN(data.Vocabulary-rare))
			return question{ql: "title contains " + quote(w), each: w}
		}},
		{Name: "contains a common word", Indexed: true, First: true, limit: 10, draw: func(rng *rand.Rand) question {
			w := data.Word(rng.IntN(common))
			return question{ql: "title contains " + quote(w), each: w, least: min(10, entities/100)}
		}},
		{Name: "equality of an element of an array", Indexed: true, First: true, limit: 10, draw: func(rng *rand.Rand) question {
			tag := "tag-" + strconv.Itoa(rng.IntN(data.Tags))
			return question{ql: "tags = " + quote(tag), each: `"` + tag + `"`, least: min(10, entities/100)}
		}},
		{Name: "three equalities", Indexed: true, First: true, limit: 10, draw: func(rng *rand.Rand) question {
			category := data.Category(rng.IntN(data.Categories))
			return question{ql: fmt.Sprintf("category = %s and status = %s and active = %t", quote(category), quote(data.Statuses()[rng.IntN(5)]), rng.IntN(2) == 0),
				each: `"category":"` + category + `"`}
		}},
		{Name: "or of two ranges", Indexed: true, First: true, limit: 10, draw: func(rng *rand.Rand) question {
			a, b := scores(rng, 100)
			c, d := ranks(rng, 100)
			return question{ql: fmt.Sprintf("score >= %.4f and score < %.4f or rank >= %d and rank < %d", a, b, c, d)}
		}},
		{Name: WithoutIndexes, limit: 10, draw: func(rng *rand.Rand) question {
			// Single letters between wildcards, one of them in no word: none is found.
			letter := func(of string) byte { return of[rng.IntN(len(of))] }
			return question{ql: fmt.Sprintf("text = '*%c*%c?%c*'", letter("aeiou"), letter("cjqwxyz"), letter("aeiou"))}
		}},
	}...)
	for i := range shapes {
		shapes[i].Collection, shapes[i].Entities = collection, entities
	}
	return shapes
}

// PlaceShapes lists the shapes over a collection of places.
func PlaceShapes(places []data.Place, collection string) []Shape {
	at := func(rng *rand.Rand) *data.Place { return &places[rng.IntN(len(places))] }
	within := func(km int) Shape {
		return Shape{Name: fmt.Sprintf("within %d km", km), Indexed: true, draw: func(rng *rand.Rand) question {
			l := at(rng).Location
			return question{ql: fmt.Sprintf("location within %d of %g, %g", km*1000, l.Latitude, l.Longitude), least: 1}
		}}
	}
	shapes := []Shape{
		within(1), within(50), within(1000),
		{Name: "places: equality of a title", Indexed: true, draw: func(rng *rand.Rand) question {
			return question{ql: "title = " + quote(at(rng).Title), least: 1}
		}},
		{Name: "places: two equalities", Indexed: true, draw: func(rng *rand.Rand) question {
			p := at(rng)
			return question{ql: fmt.Sprintf("country = %s and admin1 = %s", quote(p.Country), quote(p.Admin1)), each: `"country":"` + p.Country + `"`}
		}},
		{Name: "places: equality, order by number desc", Indexed: true, draw: func(rng *rand.Rand) question {
			p := at(rng)
			return question{ql: "country = " + quote(p.Country) + " order by number desc", each: `"country":"` + p.Country + `"`, least: 1}
		}},
	}
	for i := range shapes {
		shapes[i].Collection, shapes[i].Entities, shapes[i].limit = collection, len(places), 10
	}
	return shapes
}
