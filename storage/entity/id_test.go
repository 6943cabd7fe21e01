package entity_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/trellisdb/trellis/storage/entity"
)

// TestParseID takes one form, whatever else a text may be made of.
func TestParseID(t *testing.T) {
	const good = "01234567-89ab-cdef-ABCD-ef0123456789"
	id, ok := entity.ParseID(good)
	if !ok || id.String() != strings.ToLower(good) {
		t.Errorf("%s: %s %v", good, id, ok)
	}
	for i := range good {
		for _, c := range []byte{'-', 'g', 0, 0xff} {
			b := []byte(good)
			b[i] = c
			if _, ok := entity.ParseID(string(b)); ok && string(b) != good {
				t.Errorf("%q is taken for an id", b)
			}
		}
	}
}

// FuzzParseID: what is an id is one of a simple expression, and is written as it was read.
func FuzzParseID(f *testing.F) {
	form := regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
	f.Add("01234567-89ab-cdef-ABCD-ef0123456789")
	f.Add("01234567-89ab-cdef-ABCD--f0123456789")
	f.Fuzz(func(t *testing.T, s string) {
		id, ok := entity.ParseID(s)
		if ok != form.MatchString(s) || ok && id.String() != strings.ToLower(s) {
			t.Errorf("%q: %s %v", s, id, ok)
		}
	})
}
