package inflect

import (
	"strings"
	"testing"
)

// The verified table of spec data-model section 8.1.
func TestVerifiedTable(t *testing.T) {
	for _, tc := range []struct{ segments, collection, typ string }{
		{"item items Item ITEMS", "items", "item"},
		{"city cities", "cities", "city"},
		{"box", "boxes", "box"},
		{"address", "addresses", "address"},
		{"bus", "buses", "bus"},
		{"person people", "people", "person"},
		{"woman", "women", "woman"},
		{"human", "humen", "human"},
		{"child", "children", "child"},
		{"mouse", "mice", "mouse"},
		{"index", "indices", "index"},
		{"matrix", "matrices", "matrix"},
		{"media medium", "media", "medium"},
		{"menu menus", "menus", "menus"},
		{"movie", "movies", "movie"},
		{"cookie", "cookies", "cooky"},
		{"drive drives drife", "drives", "drife"},
		{"database", "databases", "databasis"},
		{"case", "cases", "case"},
		{"cafe", "caves", "cafe"},
		{"quiz", "quizzes", "quiz"},
		{"activity", "activities", "activity"},
		{"status statuses", "statuses", "status"},
		{"analysis", "analyses", "analysis"},
		{"axis", "axes", "axis"},
		{"test", "tests", "test"},
		{"wolf", "wolves", "wolf"},
		{"knife", "knives", "knife"},
		{"leaf", "leafs", "leaf"},
		{"day", "days", "day"},
		{"company", "companies", "company"},
		{"hero heroes", "heros", "hero"},
		{"photo", "photos", "photo"},
		{"tomato", "tomatoes", "tomato"},
		{"data", "data", "data"},
		{"series", "series", "series"},
		{"news", "news", "news"},
		{"campus", "campus", "campus"},
		{"process", "processes", "process"},
		{"gas", "gas", "ga"},
		{"lens", "lens", "len"},
		{"tax", "taxes", "taxis"},
		{"nodejs", "nodejs", "nodej"},
		{"_setting", "_settings", "_setting"},
		{"user users", "users", "user"},
		{"device", "devices", "device"},
		{"group", "groups", "group"},
		{"role", "roles", "role"},
		{"event", "events", "event"},
		{"asset", "assets", "asset"},
		{"folder", "folders", "folder"},
		{"notifier", "notifiers", "notifier"},
	} {
		for _, s := range strings.Fields(tc.segments) {
			if got := Collection(s); got != tc.collection {
				t.Errorf("Collection(%s) = %s, want %s", s, got, tc.collection)
			}
			if got := Type(s); got != tc.typ {
				t.Errorf("Type(%s) = %s, want %s", s, got, tc.typ)
			}
		}
	}
}

func TestRows(t *testing.T) {
	for _, tc := range []struct{ in, plural, singular string }{
		{"ox", "oxen", "ox"},
		{"oxen", "oxen", "ox"},
		{"octopus", "octopi", "octopus"},
		{"virus", "viri", "virus"},
		{"alias", "aliases", "alias"},
		{"sex", "sexes", "sex"},
		{"move", "moves", "move"},
		{"stadium", "stadiums", "stadium"},
		{"complex", "complices", "complex"},
		{"soliloquy", "soliloquies", "soliloquy"},
		{"hive", "hives", "hive"},
		{"archive", "archives", "archive"},
		{"chief", "chiefs", "chief"},
		{"giraffe", "giraffes", "giraffe"},
		{"crisis", "crises", "crisis"},
		{"datum", "data", "datum"},
		{"buffalo", "buffaloes", "buffalo"},
		{"testis", "testes", "testis"},
		{"sheep", "sheep", "sheep"},
		{"shoes", "shoes", "shoe"},
		{"lice", "lice", "louse"},
		{"relatives", "relatives", "relative"},
		{"hypotheses", "hypotheses", "hypothesis"},
		{"y", "ys", "y"},
		{"", "", ""},
		{"s", "s", "s"},
		{"fe", "fes", "fe"},
	} {
		if got := Plural(tc.in); got != tc.plural {
			t.Errorf("Plural(%s) = %s, want %s", tc.in, got, tc.plural)
		}
		if got := Singular(tc.in); got != tc.singular {
			t.Errorf("Singular(%s) = %s, want %s", tc.in, got, tc.singular)
		}
	}
}

func checkLaw(t *testing.T, w string) {
	t.Helper()
	want := Collection(w)
	if got := Collection(Type(w)); got != want {
		t.Errorf("%q: Collection(Type) = %q, Collection = %q", w, got, want)
	}
	if got := Collection(Plural(w)); got != want {
		t.Errorf("%q: Collection(Plural) = %q, Collection = %q", w, got, want)
	}
	if got := Collection(want); got != want {
		t.Errorf("%q: Collection(Collection) = %q, Collection = %q", w, got, want)
	}
}

// Whatever spelling a client uses, and whatever type it is shown, it comes back
// to one collection.
func TestOneCollectionForAllSpellings(t *testing.T) {
	heads := strings.Fields(`b br c ch cl d dr f fl g gl h j k l m n p pl pr qu r s sh sk st t th tr v w cust prod catal invent
		mess comm trans inter over under photo micro tele auto data book cart doc eng fact gen hist`)
	tails := strings.Fields(`able ace act ad age ail ain air ake al ale all am an ance and ane ap ar are art ary as ase ask ass ast at
		ate ation atch ay each ead eam ean ear eat eck ed ee eed eel een eep eer el elf ell elp ement en end ence ent er erf esis ess est et ew
		ex ey ia ial ibe ic ice ick id ide ie ief ience ife ift ig ight ike ile ill im ime in ind ine ing ink int io ion ip ire is ise ish isk
		ism iss ist it ite ity ium ive ix ize oach oad oal oard oat ob ock od ode oe og oice oil oin old ole olf oll om ome on ond one ong ood
		ook ool oom oon oor op ope or ord ore ork orm ort ory os ose oss ost ot ote oth ough ould ound oup our ouse out ove ow own ox oy ub uck
		ude ue ug ule um ump un und ung unk up ur ure urf urn us use ush uss ust ut ute ux y`)
	n := 0
	for _, h := range heads {
		for _, tail := range tails {
			checkLaw(t, h+tail)
			checkLaw(t, h+tail+"s")
			n += 2
		}
	}
	if n < 5000 {
		t.Fatalf("only %d words", n)
	}
	for _, w := range strings.Fields(words) {
		checkLaw(t, w)
	}
}

func BenchmarkCollection(b *testing.B) {
	for b.Loop() {
		_ = Collection("restaurants")
	}
}

func FuzzCollection(f *testing.F) {
	for _, w := range []string{"items", "lexs", "Étagères", "oxenoxen", "ies", "\xff"} {
		f.Add(w)
	}
	f.Fuzz(func(t *testing.T, w string) {
		c := Collection(w)
		if got := Collection(c); got != c {
			t.Errorf("%q: Collection(%q) = %q", w, c, got)
		}
		if c == "" && w != "" {
			t.Errorf("%q has no collection", w)
		}
		if len(c) > 2*len(w)+8 && len(strings.ToLower(w)) <= len(w) {
			t.Errorf("%q became %q", w, c)
		}
	})
}
