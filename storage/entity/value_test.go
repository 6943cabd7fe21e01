package entity

import (
	"math"
	"math/big"
	"math/rand/v2"
	"strconv"
	"testing"
)

func exact(n Number) *big.Float {
	f := new(big.Float).SetPrec(200).SetFloat64(n.Float)
	return f.Add(f, new(big.Float).SetInt64(int64(n.Rest)))
}

func TestNumbersCompareAsTheNumbersTheyAre(t *testing.T) {
	var list []Number
	add := func(n Number, want *big.Float) {
		if exact(n).Cmp(want) != 0 {
			t.Fatalf("%v stands for %s, want %s", n, exact(n), want)
		}
		list = append(list, n)
	}
	ints := []int64{0, 1, -1, math.MaxInt64, math.MinInt64, math.MinInt64 + 1, math.MaxInt64 - 511, math.MaxInt64 - 512, math.MaxInt64 - 513}
	for shift := 50; shift < 63; shift++ {
		for d := int64(-3); d <= 3; d++ {
			ints = append(ints, 1<<shift+d, -(1<<shift)+d)
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		ints = append(ints, int64(rng.Uint64()))
	}
	for _, i := range ints {
		n, ok := ParseNumber(strconv.FormatInt(i, 10))
		if !ok || n != Int(i) {
			t.Fatalf("%d reads as %v", i, n)
		}
		add(n, new(big.Float).SetPrec(200).SetInt64(i))
	}
	for _, f := range []float64{0.5, -0.5, 1e300, -1e300, 5e-324, 1 << 53, 1<<53 + 2, 1 << 63, 9223372036854774784, -1 << 63} {
		add(Float(f), new(big.Float).SetPrec(200).SetFloat64(f))
	}
	for _, a := range list {
		b := list[rng.IntN(len(list))]
		if got, want := a.Compare(b), exact(a).Cmp(exact(b)); got != want {
			t.Errorf("%s against %s: %d, want %d", exact(a), exact(b), got, want)
		}
	}
}

func TestParseNumber(t *testing.T) {
	for text, want := range map[string]Number{
		"10": Float(10), "10.0": Float(10), "1e1": Float(10), "-0": Float(0), "-0.0": Float(0), ".5": Float(.5), "12.": Float(12),
		"9223372036854775808": Float(1 << 63),
	} {
		if n, ok := ParseNumber(text); !ok || n != want || math.Signbit(n.Float) != math.Signbit(want.Float) {
			t.Errorf("%s reads as %v, %v", text, n, ok)
		}
	}
	for _, text := range []string{"", "x", "1e999", "NaN", "Inf", "-", "1x"} {
		if n, ok := ParseNumber(text); ok {
			t.Errorf("%q reads as %v", text, n)
		}
	}
}
