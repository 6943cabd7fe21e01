package seal

import (
	"bytes"
	"strings"
	"testing"

	"github.com/trellisdb/trellis/storage/fault"
)

func ring(t *testing.T, secrets ...string) *Ring {
	t.Helper()
	var keys [][]byte
	for _, s := range secrets {
		keys = append(keys, []byte(s))
	}
	r, err := NewRing(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestKeysChange(t *testing.T) {
	first, both, second := ring(t, "one"), ring(t, "two", "one", "two"), ring(t, "two")
	nonce := [NonceSize]byte{1, 2, 3}
	sealed := first.Seal([]byte("b3U6secret"), nonce, "owner")
	if bytes.Contains(sealed, []byte("secret")) {
		t.Fatal("the secret stands in its sealed form")
	}
	for name, tc := range map[string]struct {
		ring    *Ring
		value   []byte
		context string
		plain   string
		stale   bool
		code    fault.Code
	}{
		"its key":           {first, sealed, "owner", "b3U6secret", false, ""},
		"an older key":      {both, sealed, "owner", "b3U6secret", true, ""},
		"a key gone":        {second, sealed, "owner", "", false, fault.Corrupt},
		"of somebody else":  {first, sealed, "other", "", false, fault.Corrupt},
		"never sealed":      {first, []byte("b3U6secret"), "owner", "b3U6secret", true, ""},
		"nothing":           {first, nil, "owner", "", false, ""},
		"cut short":         {first, sealed[:10], "owner", "", false, fault.Corrupt},
		"without its tag":   {first, sealed[:len(sealed)-1], "owner", "", false, fault.Corrupt},
		"sealed with a new": {both, both.Seal([]byte("x"), nonce, ""), "", "x", false, ""},
	} {
		plain, stale, err := tc.ring.Open(tc.value, tc.context)
		if string(plain) != tc.plain || stale != tc.stale || fault.CodeOf(err) != tc.code {
			t.Errorf("%s: %q, stale %v, %v", name, plain, stale, err)
		}
	}
}

func TestParse(t *testing.T) {
	keys, err := Parse("# newest first\n" + strings.Repeat("a", 16) + "\n\n  " + strings.Repeat("b", 40) + "\r\n")
	if err != nil || len(keys) != 2 || len(keys[0]) != 16 || len(keys[1]) != 40 {
		t.Errorf("%q, %v", keys, err)
	}
	for _, bad := range []string{"", "# nothing\n", "short\n"} {
		if _, err := Parse(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func FuzzOpen(f *testing.F) {
	r, err := NewRing([]byte("one"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(r.Seal([]byte("x"), [NonceSize]byte{}, "c"))
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		plain, stale, err := r.Open(b, "d")
		if err == nil && len(b) > 0 && (b[0] == version || !stale || !bytes.Equal(plain, b)) {
			t.Errorf("%x opens as %x, stale %v", b, plain, stale)
		}
	})
}
