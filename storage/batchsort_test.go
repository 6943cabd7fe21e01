package storage

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// Heads never contradict the order of the keys, whatever the keys: also of such as are
// short, or whose parts are too large for a head.
func TestHeadsKeepTheOrderOfKeys(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	number := func() []byte {
		large := []uint32{0, 1, 2, 510, 511, 512, 513, 1022, 1023, 1024, 1025, 1<<31 + 7, ^uint32(0)}[rng.IntN(13)]
		return []byte{byte(large >> 24), byte(large >> 16), byte(large >> 8), byte(large)}
	}
	const base = 3
	key := func() []byte {
		app := []uint32{base, base, base + 1, base + 62, base + 63, base + 64, ^uint32(0)}[rng.IntN(7)]
		k := []byte{0, 0, 0, 9, byte(app >> 24), byte(app >> 16), byte(app >> 8), byte(app), "EIKT"[rng.IntN(4)]}
		k = append(append(k, number()...), number()...)
		for range rng.IntN(6) {
			k = append(k, []byte{0, 1, 'a', 0xff}[rng.IntN(4)])
		}
		return k[:8+rng.IntN(len(k)-7)]
	}
	told := 0
	for range 300_000 {
		x, y := key(), key()
		a, b := headOf(x, base), headOf(y, base)
		if order := bytes.Compare(x, y); order < 0 && a > b || order > 0 && a < b || order == 0 && a != b {
			t.Fatalf("%x and %x compare as %d, their heads are %x and %x", x, y, order, a, b)
		}
		if a != b {
			told++
		}
	}
	if told < 200_000 {
		t.Errorf("heads told %d of 300000 pairs apart", told)
	}
}
