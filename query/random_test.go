package query

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/keys"
)

// rounds returns how many worlds a random test makes; TRELLIS_ROUNDS multiplies it.
func rounds(n int) int {
	if more, err := strconv.Atoi(os.Getenv("TRELLIS_ROUNDS")); err == nil {
		return n * more
	}
	return n
}

// maker makes random entities and queries that have much to do with each other.
type maker struct{ *rand.Rand }

func newMaker(seed uint64) maker { return maker{rand.New(rand.NewPCG(seed, 0))} }

func pick[T any](m maker, list ...T) T { return list[m.IntN(len(list))] }

func (m maker) one(in int) bool { return m.IntN(in) == 0 }

var (
	someWords = []string{"ant", "bee", "Cat", "dog", "eel", "fox", "gnu", "ant_bee"}
	long      = strings.Repeat("x", 120)
)

// text is a string as JSON.
func (m maker) text() string {
	switch m.IntN(12) {
	case 0:
		return strconv.Quote(long + pick(m, "", "xxxx", "xxxxxxxx", "xxxxxxxxy", "xxxxxxxxz", "xxxxxxxxx ant"))
	case 1:
		return pick(m, `""`, `"a\u0000"`, `"a\u0000b"`, `"É"`, `"a"`, `"10"`, `"true"`)
	}
	n := 1 + m.IntN(3)
	list := make([]string, n)
	for i := range list {
		list[i] = pick(m, someWords...)
	}
	return strconv.Quote(strings.Join(list, pick(m, " ", "-", "  ")))
}

// longText is a string that is cut in an index, or just not.
func (m maker) longText() string {
	return strconv.Quote(long + pick(m, "", "xxxxxxxx", "xxxxxxxxy", "xxxxxxxxz", "xxxxxxxxz", "xxxxxxx ant", " "+long))
}

func (m maker) number() string {
	switch m.IntN(10) {
	case 0:
		return pick(m, "9007199254740993", "9007199254740992", "-9223372036854775808", "9223372036854775807", "1e300", "-0.0", "9.5")
	case 1:
		return fmt.Sprintf("%d.5", m.IntN(6))
	}
	return strconv.Itoa(m.IntN(8) - 1)
}

func (m maker) scalar() string {
	switch m.IntN(7) {
	case 0, 1:
		return m.text()
	case 2:
		return pick(m, "true", "false")
	case 3:
		return pick(m, "null", `{"deep":1}`, `[[1,2]]`)
	}
	return m.number()
}

func (m maker) value() string {
	if m.one(4) {
		list := make([]string, m.IntN(4))
		for i := range list {
			list[i] = m.scalar()
		}
		return "[" + strings.Join(list, ",") + "]"
	}
	return m.scalar()
}

// places lie at distances that differ by much more than they are rounded by.
var places = []string{"37.7749,-122.4194", "37.779,-122.419", "43.6532,-79.3832", "51.5074,-0.1278", "0.5,179.9", "-0.25,-179.9", "89.9,10"}

func (m maker) location() string {
	at := pick(m, places...)
	if m.one(20) {
		at = "95,10"
	}
	lat, lng, _ := strings.Cut(at, ",")
	return fmt.Sprintf(`{"latitude":%s,"longitude":%s}`, lat, lng)
}

// object is the JSON of an entity.
func (m maker) object(n int) string {
	var b strings.Builder
	fmt.Fprintf(&b, `{"serial":%d`, n)
	add := func(name, value string) { fmt.Fprintf(&b, `,"%s":%s`, name, value) }
	if !m.one(4) {
		add("name", strconv.Quote("N"+strconv.Itoa(n)))
	}
	if !m.one(4) {
		add(pick(m, "a", "A"), m.value())
	}
	if !m.one(3) {
		add("b", m.value())
	}
	add("status", strconv.Quote(pick(m, "open", "Open", "closed", "lost")))
	add("n", m.number())
	if m.one(2) {
		add("s", m.text())
	}
	if !m.one(4) {
		add("l", "["+m.longText()+","+pick(m, m.longText(), m.longText(), `"z"`, "3")+"]")
	}
	if m.one(3) {
		add("o", `{"x":`+m.value()+`,"Y":`+m.scalar()+`}`)
	}
	if m.one(2) {
		add("loc", m.location())
	}
	if m.one(5) {
		add("many", `[{"at":`+m.location()+`},{"at":`+m.location()+`,"x":`+m.scalar()+`}]`)
	}
	return b.String() + "}"
}

var properties = []string{"a", "a", "b", "status", "status", "n", "n", "s", "l", "l", "o.x", "O.y", "name", "nosuch", "serial", "many.x", "created", "modified"}

func (m maker) literal(property string, k *kind) string {
	switch property {
	case "status":
		return pick(m, "'open'", "'closed'", "'nothing'", "'o*'")
	case "serial":
		return strconv.Itoa(m.IntN(len(k.docs) + 2))
	case "created", "modified":
		return strconv.Itoa(1000 + m.IntN(len(k.docs)+2)/3)
	case "n":
		return m.number()
	case "l":
		text, _ := strconv.Unquote(m.longText())
		return "'" + text + pick(m, "", "", "", "*") + "'"
	}
	switch m.IntN(8) {
	case 0:
		return pick(m, "true", "false")
	case 1, 2, 3:
		text, _ := strconv.Unquote(strings.ReplaceAll(m.text(), `\u0000`, ``))
		if m.one(3) && text != "" {
			text = text[:1+m.IntN(len(text))]
			text = strings.ToValidUTF8(text, "") + pick(m, "*", "", "?*")
			if m.one(3) {
				text = "*" + text
			}
		}
		return "'" + text + "'"
	}
	return m.number()
}

func (m maker) near() string {
	return fmt.Sprintf("%s within %s of %s", pick(m, "loc", "loc", "many.at", "nosuch"), pick(m, "0", "400", "1000.5", "60000", "5000000", "30000000"), pick(m, places...))
}

func (m maker) condition(k *kind, depth int) string {
	if depth > 0 && !m.one(3) {
		switch m.IntN(5) {
		case 0:
			return "not " + m.condition(k, depth-1)
		case 1, 2:
			n := 2 + m.IntN(2)
			list := make([]string, n)
			for i := range list {
				list[i] = m.condition(k, depth-1)
			}
			return "(" + strings.Join(list, " or ") + ")"
		}
		n := 2 + m.IntN(2)
		list := make([]string, n)
		for i := range list {
			list[i] = m.condition(k, depth-1)
		}
		return "(" + strings.Join(list, " and ") + ")"
	}
	property := pick(m, properties...)
	if m.one(8) {
		return fmt.Sprintf("%s %s %s and %s %s %s", property, pick(m, ">", ">="), m.literal(property, k), property, pick(m, "<", "<="), m.literal(property, k))
	}
	switch m.IntN(12) {
	case 0, 1:
		return property + " contains '" + pick(m, "ant", "bee cat", "c*", "*x*", "fox*", "nothing", "-", "ant_bee", "a?*", long, long+"xxxxxxxxy", long+"*") + "'"
	case 2:
		return m.near()
	case 3:
		if m.one(3) {
			return fmt.Sprintf("type = '%s'", pick(m, k.typ, "other", "*"))
		}
		for _, d := range k.docs {
			return fmt.Sprintf("uuid %s %s", pick(m, "=", "=", "<", ">="), d.ID)
		}
	}
	return property + " " + pick(m, "=", "=", "=", "<", "<=", ">", ">=") + " " + m.literal(property, k)
}

func (m maker) ordering(most int) string {
	n := m.IntN(most + 1)
	if n == 0 {
		return ""
	}
	var list []string
	var used []string
	for len(list) < n {
		p := strings.ToLower(pick(m, append([]string{"uuid", "type", "loc", "many.at"}, properties...)...))
		if slices.Contains(used, p) {
			continue
		}
		used = append(used, p)
		list = append(list, p+pick(m, "", " asc", " desc", " desc"))
	}
	return " order by " + strings.Join(list, ", ")
}

// query is the text of a random query.
func (m maker) query(k *kind) string {
	if m.one(3) && len(k.settings.Plan.Composites) > 0 {
		return m.likeComposite(k)
	}
	text := "select *"
	if !m.one(6) {
		text += " where " + m.condition(k, m.IntN(4))
	}
	return text + m.ordering(pick(m, 0, 1, 1, 2, 3))
}

// fill adds random entities.
func (m maker) fill(k *kind, n int) {
	k.w.commit(func(b *storage.Batch) {
		for range n {
			m.add(b, k)
		}
	})
	k.w.commit(func(b *storage.Batch) {
		for _, d := range k.sorted() {
			if m.one(5) {
				m.change(b, k, d)
			}
			if m.one(8) {
				k.remove(b, d)
			}
		}
	})
}

// tune makes the engine choose among plans at random.
func (m maker) tune(w *world) {
	w.engine.tune = tuning{probe: pick(m, 0, 0, 4, 128), trial: pick(m, -1<<20, -1<<20, 4, 256), streams: pick(m, 0, 2, 32), patience: pick(m, 0, 1)}
	w.engine.cfg.MaxSet = pick(m, 0, 30, 50_000)
}

// settle changes the settings of a collection, or not, and indexes all of it anew, or not.
func (m maker) settle(k *kind) {
	if m.one(4) {
		return
	}
	plan := entity.IndexPlan{All: true}
	switch m.IntN(8) {
	case 0:
		plan = entity.IndexPlan{None: true}
	case 1, 2, 3:
		plan = entity.IndexPlan{Fields: []string{"status", "n", pick(m, "o", "o.x", "a"), pick(m, "loc", "s")}}
	}
	for range m.IntN(4) {
		plan.Composites = append(plan.Composites, m.composite(len(plan.Composites), k))
	}
	if plan.None {
		plan.Composites = nil
	}
	k.w.commit(func(b *storage.Batch) { k.set(b, plan) })
	if !m.one(3) {
		k.settle()
	}
}

func (m maker) composite(n int, k *kind) entity.Composite {
	x := entity.Composite{Number: uint32(int(k.settings.Plan.Generation)*10 + n)}
	names := []string{"status", "n", "a", "created", "modified", "uuid", "b"}
	m.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	if m.one(2) {
		names = append([]string{"status", pick(m, "created", "created", "modified", "n")}, pick(m, "a", "b"), "uuid")
	}
	for _, name := range names[:2+m.IntN(3)] {
		x.Keys = append(x.Keys, entity.CompositeKey{Property: name, Desc: m.one(2)})
	}
	return x
}

// likeComposite is a query that a composite index of the collection helps with.
func (m maker) likeComposite(k *kind) string {
	x := pick(m, k.settings.Plan.Composites...)
	n := m.IntN(len(x.Keys))
	var conditions, order []string
	for _, key := range x.Keys[:n] {
		if key.Property != "created" && key.Property != "modified" && key.Property != "uuid" {
			conditions = append(conditions, key.Property+" = "+pick(m, m.literal(key.Property, k), "'open'", "1"))
		}
	}
	reverse := m.one(2)
	for _, key := range x.Keys[n : n+1+m.IntN(len(x.Keys)-n)] {
		order = append(order, key.Property+map[bool]string{true: " desc", false: ""}[key.Desc != reverse])
		if m.one(6) {
			conditions = append(conditions, key.Property+pick(m, " > ", " <= ", " = ")+m.literal(key.Property, k))
		}
	}
	if m.one(4) {
		conditions = append(conditions, m.condition(k, 1))
	}
	text := "select *"
	if len(conditions) > 0 {
		text += " where " + strings.Join(conditions, " and ")
	}
	if m.one(8) {
		return text
	}
	text += " order by " + strings.Join(order, ", ")
	if m.one(4) {
		text += pick(m, ", serial", ", s desc")
	}
	return text
}

func (m maker) add(b *storage.Batch, k *kind) *doc {
	var id entity.ID
	binary.BigEndian.PutUint64(id[:], m.Uint64())
	created := int64(1000 + m.IntN(10))
	if !m.one(4) {
		created = 1000 + int64(k.next)/3
	}
	return k.add(b, id, created, created+int64(m.IntN(3)), m.object(int(k.next)))
}

func (m maker) change(b *storage.Batch, k *kind, d *doc) {
	k.change(b, d, d.Modified+int64(m.IntN(20)), m.object(int(d.Seq)))
}

func (k *kind) sorted() []*doc {
	list := make([]*doc, 0, len(k.docs))
	for _, d := range k.docs {
		list = append(list, d)
	}
	slices.SortFunc(list, func(a, b *doc) int { return int(a.Seq) - int(b.Seq) })
	return list
}

// walk reads all pages of a request.
func (w *world) walk(req Request, size func() int) (rows []Row, err error) {
	for {
		req.Limit = size()
		page, err := w.page(&req)
		if err != nil {
			return rows, err
		}
		rows = append(rows, page.Rows...)
		if len(page.Rows) > req.Limit {
			return rows, fmt.Errorf("a page of %d rows, limit %d", len(page.Rows), req.Limit)
		}
		if page.Cursor == "" {
			return rows, nil
		}
		if len(page.Rows) < req.Limit {
			return rows, fmt.Errorf("a cursor after a short page")
		}
		req.Cursor = page.Cursor
	}
}

// TestRandomQueries compares the engine with the naive evaluation.
func TestRandomQueries(t *testing.T) {
	for seed := range uint64(rounds(12)) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) { newMaker(seed).compareAll(newWorld(t)) })
	}
}

// compareAll asks many queries of a world.
func (m maker) compareAll(w *world) {
	k := w.kind("things", "thing")
	other := w.kind("others", "other")
	m.settle(k)
	m.fill(k, 40+m.IntN(60))
	m.settle(k)
	m.fill(other, 10)
	near := k.end(k.sorted()[0])
	w.commit(func(b *storage.Batch) {
		for range 80 {
			far := pick(m, k, k, k, other)
			w.connect(b, near, entity.VerbID(1+m.IntN(3)), far.end(pick(m, far.sorted()...)))
			w.connect(b, far.end(pick(m, far.sorted()...)), entity.VerbID(1+m.IntN(2)), near)
		}
	})
	w.commit(func(b *storage.Batch) {
		for _, d := range k.sorted()[1:] {
			if m.one(10) {
				k.remove(b, d)
			}
		}
	})
	for range 100 {
		req := Request{From: k.source(), OldestFirst: m.one(4)}
		if m.one(4) {
			req.Edges = &Edges{Near: near, Direction: pick(m, keys.Outbound, keys.Inbound), Collection: w.collection,
				Verbs: pick(m, []entity.VerbID{1}, []entity.VerbID{2, 1}, []entity.VerbID{1, 2, 3, 3}), Only: pick(m, 0, 0, k.id)}
		}
		m.tune(w)
		text := m.query(k)
		req.Query = must(w.t, text)
		w.compare(m, req, fmt.Sprintf("%s (%+v)", text, w.engine.tune))
	}
}

// compare reads a request page by page and compares all of it with the naive answer.
func (w *world) compare(m maker, req Request, what string) {
	w.t.Helper()
	want := w.naive(&req, planOf)
	got, err := w.walk(req, func() int { return pick(m, 1, 2, 3, 5, 10, 10, 100) })
	if err != nil {
		w.t.Fatalf("%s: %v", what, err)
	}
	if d := difference(got, want); d != "" {
		w.t.Fatalf("%s: %s", what, d)
	}
	near := req.Query.Near()
	for i, c := range want {
		distance := int64(NoDistance)
		if len(near) > 0 {
			if at := naiveKey(atoms(c.doc, planOf(c.doc.kind)), c.doc, near[0].Property, false, near[0]); at.group == 0 {
				distance = at.num.Num().Int64()
			}
		}
		if got[i].Distance != distance {
			w.t.Fatalf("%s: entity %d is %d mm away, want %d", what, c.doc.Seq, got[i].Distance, distance)
		}
	}
}

func difference(got []Row, want []candidate) string {
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			return fmt.Sprintf("%d rows, want %d: next %d %s", len(got), len(want), want[i].doc.Seq, want[i].doc.JSON)
		case i >= len(want):
			return fmt.Sprintf("%d rows, want %d: next %d %s", len(got), len(want), got[i].Entity.Seq, got[i].Entity.JSON)
		case got[i].Entity.ID != want[i].doc.ID || got[i].Eseq != want[i].eseq || string(got[i].Entity.JSON) != string(want[i].doc.JSON):
			return fmt.Sprintf("row %d of %d is %d %s, want %d %s", i, len(want), got[i].Entity.Seq, got[i].Entity.JSON, want[i].doc.Seq, want[i].doc.JSON)
		}
	}
	return ""
}
