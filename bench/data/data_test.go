package data

import (
	"bytes"
	"encoding/json"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestEntitiesHaveTheirSizeAndDiffer(t *testing.T) {
	names := make(map[string]bool)
	for _, prefix := range []string{"i", "item", "nineteen-characters"} {
		for _, n := range []uint64{0, 1, 9, 10, 999_999, 1_000_000, math.MaxUint64} {
			raw := AppendEntity(nil, prefix, math.MaxUint64, n)
			if len(raw) != EntityBytes {
				t.Errorf("%s %d: %d bytes, want %d: %s", prefix, n, len(raw), EntityBytes, raw)
			}
			var e struct {
				Name     string
				Category string
				Price    float64
				Stock    int
				Active   bool
				Tags     []string
				Note     string
			}
			if err := json.Unmarshal(raw, &e); err != nil {
				t.Fatalf("%s: %v", raw, err)
			}
			if e.Name != Name(prefix, math.MaxUint64, n) || e.Category == "" || len(e.Tags) != 2 || e.Price == 0 || e.Note == "" {
				t.Errorf("%s", raw)
			}
			if names[e.Name] {
				t.Errorf("%s is the name of two entities", e.Name)
			}
			names[e.Name] = true
		}
	}
}

func TestEntitiesFollowFromTheSeed(t *testing.T) {
	a, b, c := AppendEntity(nil, "item", 1, 7), AppendEntity([]byte("x"), "item", 1, 7), AppendEntity(nil, "item", 2, 7)
	if !bytes.Equal(a, b[1:]) {
		t.Errorf("one seed and number made\n%s\n%s", a, b[1:])
	}
	if bytes.Equal(a, c) {
		t.Error("two seeds made one entity")
	}
	const golden = `{"name":"item-1-7","category":"`
	if !bytes.HasPrefix(a, []byte(golden)) {
		t.Errorf("%s does not begin with %s", a, golden)
	}
}

func TestUpdateIsAnObject(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 100 {
		var v struct{ Price, Stock *int }
		if raw := AppendUpdate(nil, rng); json.Unmarshal(raw, &v) != nil || v.Price == nil || v.Stock == nil {
			t.Fatalf("%s", raw)
		}
	}
}

// The frequencies of the first ranks, and the whole tail, against the formula.
func TestZipfHasItsFrequencies(t *testing.T) {
	const n, draws = 1000, 400_000
	z, err := NewZipf(n, Theta)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(3, 4))
	counts := make([]int, n)
	for range draws {
		counts[z.Rank(rng)]++
	}
	var zeta float64
	for k := 1.0; k <= n; k++ {
		zeta += math.Pow(k, -Theta)
	}
	share := func(from, to int) (got, want float64) {
		for k := from; k < to; k++ {
			got += float64(counts[k]) / draws
			want += math.Pow(float64(k+1), -Theta) / zeta
		}
		return got, want
	}
	for _, r := range [][2]int{{0, 1}, {1, 2}, {2, 10}, {10, 100}, {100, 1000}} {
		if got, want := share(r[0], r[1]); math.Abs(got-want) > 0.15*want {
			t.Errorf("ranks %d to %d: share %.4f, want %.4f", r[0], r[1]-1, got, want)
		}
	}
}

func TestZipfKeysAreScatteredAndInRange(t *testing.T) {
	const n = 1000
	z, err := NewZipf(n, Theta)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(3, 4))
	counts := make(map[uint64]int)
	for range 100_000 {
		key := z.Next(rng)
		if key >= n {
			t.Fatalf("key %d of %d", key, n)
		}
		counts[key]++
	}
	firstHalf := 0
	for key, c := range counts {
		if key < n/2 {
			firstHalf += c
		}
	}
	if firstHalf < 20_000 || firstHalf > 80_000 {
		t.Errorf("%d of 100000 draws in the first half: hot keys are neighbours", firstHalf)
	}
}

func TestZipfRefusesWhatItCannotDraw(t *testing.T) {
	for _, theta := range []float64{0, 1, -1, math.Inf(1)} {
		if _, err := NewZipf(10, theta); err == nil {
			t.Errorf("exponent %g was accepted", theta)
		}
	}
	if _, err := NewZipf(1, Theta); err == nil {
		t.Error("one value was accepted")
	}
}

func TestCityBecomesAPlace(t *testing.T) {
	p, err := City{Name: "Sant Julià", Lat: "42.46372", Lng: "-1.49129", Country: "AD", Admin1: "06"}.place(7)
	want := Place{Name: "city-000007", Number: 7, Title: "Sant Julià", Country: "AD", Admin1: "06", Location: Location{Latitude: 42.46372, Longitude: -1.49129}}
	if err != nil || p != want {
		t.Errorf("%+v, %v; want %+v", p, err, want)
	}
	if _, err := (City{Lat: "north", Lng: "1"}).place(0); err == nil {
		t.Error("a latitude of letters was accepted")
	}
}

func TestArchiveWithoutCitiesIsRefused(t *testing.T) {
	if _, err := readCities(strings.NewReader("not gzip")); err == nil {
		t.Error("text was read as an archive")
	}
}
