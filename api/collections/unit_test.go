package collections

import (
	"strings"
	"testing"
)

func TestLimitOf(t *testing.T) {
	for text, want := range map[string]int{
		"": 10, "0": 10, "-5": 10, "x": 10, "1.5": 10, "7": 7, " 7 ": 7, "1000": 1000, "1001": 1000,
		"99999999999999999999999": 1000, "-99999999999999999999999": 10,
	} {
		if got := limitOf(text); got != want {
			t.Errorf("limitOf(%q) = %d, want %d", text, got, want)
		}
	}
}

func TestEverything(t *testing.T) {
	for ql, want := range map[string]bool{
		"": true, "  ": true, "*": true, " * ": true, "select *": true, "SELECT  *": true, "select*": true,
		"select * where a = 1": false, "a = 1": false, "select a": false, "order by name": false, "select * order by name": false,
	} {
		if got := everything(ql); got != want {
			t.Errorf("everything(%q) = %v", ql, got)
		}
	}
}

func TestEverythingTwiceEncoded(t *testing.T) {
	for ql, want := range map[string]bool{
		"select%20*": true, "select+%2A": true, "%2A": true, "select%20a": false, "%": false, "*": false, "%zz": false,
	} {
		if got := everythingTwiceEncoded(ql); got != want {
			t.Errorf("everythingTwiceEncoded(%q) = %v", ql, got)
		}
	}
}

func TestIsEmail(t *testing.T) {
	for s, want := range map[string]bool{
		"ana@example.test": true, "a.b_c%d'e+f-g@x-y.example.org": true, "E@X.ORG": true,
		"ana": false, "@x.org": false, "a@": false, "a@b": false, "a@b.c": false, "a@.org": false, "a b@x.org": false, "a@x.o1": false,
		"a@b@x.org": false, "": false,
	} {
		if got := isEmail(s); got != want {
			t.Errorf("isEmail(%q) = %v", s, got)
		}
	}
}

func TestGravatar(t *testing.T) {
	// The address of Gravatar's own documentation.
	const want = "http://www.gravatar.com/avatar/0bc83cb571cd1c50ba6f3e8a78ef1346"
	if got := gravatar(" MyEmailAddress@example.com "); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestCollectionNames(t *testing.T) {
	got, err := collectionNames([]byte(`{"collections":{"Widget":{},"widgets":{},"applications":{},"box":1}}`))
	if err != nil || strings.Join(got, " ") != "widgets boxes" {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := collectionNames([]byte(`[]`)); err != nil || got != nil {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := collectionNames([]byte(`{"collections":{"entities":{}}}`)); err == nil {
		t.Error("entities taken for a collection")
	}
}
