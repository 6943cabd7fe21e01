package index

import (
	"math"
	"testing"

	"github.com/golang/geo/s2"
	"pgregory.net/rapid"
)

func TestDistance(t *testing.T) {
	for _, tc := range []struct {
		name                   string
		lat1, lng1, lat2, lng2 float64
		want                   int64 // mm
	}{
		{"same place", 37.7749, -122.4194, 37.7749, -122.4194, 0},
		{"across town", 37.7749, -122.4194, 37.779, -122.419, 457_253},
		{"across a country", 37.7749, -122.4194, 43.6532, -79.3832, 3_643_777_000},
		{"across an ocean", 37.7749, -122.4194, 51.5074, -0.1278, 8_616_442_435},
		{"pole by two meridians", 90, 0, 90, 123, 0},
		{"antimeridian", 10, 180, 10, -180, 0},
		{"over the antimeridian", 0, 179.5, 0, -179.5, 111_195_080},
		{"over the pole", 89, 0, 89, 180, 222_390_160},
		{"pole to pole", 90, 0, -90, 0, 20_015_114_442},
		{"antipodes", 0, 0, 0, 180, 20_015_114_442},
		{"nearly antipodes", 0, 0, 0.00001, 180, 20_015_113_330},
		{"a millimetre", 0, 0, 0.00000001, 0, 1},
	} {
		if got := Distance(tc.lat1, tc.lng1, tc.lat2, tc.lng2); got != tc.want {
			t.Errorf("%s: %d mm, want %d", tc.name, got, tc.want)
		}
	}
}

// anywhere draws a place on earth, often at an edge of something.
func anywhere(t *rapid.T, label string) (lat, lng float64) {
	lats := rapid.OneOf(rapid.SampledFrom([]float64{-90, -89.9999999, -45, 0, 35.264389682754654, 45, 90}), rapid.Float64Range(-90, 90))
	lngs := rapid.OneOf(rapid.SampledFrom([]float64{-180, -135, -90, -45, 0, 45, 90, 135, 179.9999999, 180}), rapid.Float64Range(-180, 180))
	return lats.Draw(t, label+" latitude"), lngs.Draw(t, label+" longitude")
}

// TestDistanceIsTheLibrarys to the millimetre, and symmetric.
func TestDistanceIsTheLibrarys(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lat1, lng1 := anywhere(t, "from")
		lat2, lng2 := anywhere(t, "to")
		got := Distance(lat1, lng1, lat2, lng2)
		want := s2.PointFromLatLng(s2.LatLngFromDegrees(lat1, lng1)).Distance(s2.PointFromLatLng(s2.LatLngFromDegrees(lat2, lng2))).Radians() * EarthRadius * 1000
		if math.Abs(float64(got)-want) > 1.01 {
			t.Fatalf("%d mm, want %v", got, want)
		}
		if back := Distance(lat2, lng2, lat1, lng1); back != got {
			t.Fatalf("%d mm there, %d back", got, back)
		}
	})
}

func TestCell(t *testing.T) {
	for _, tc := range []struct {
		lat, lng float64
		want     uint64
		ok       bool
	}{
		{37.7749, -122.4194, 0x8085809e8e8d8c61, true},
		{0, 0, 0x1000000000000001, true}, {90, 0, 0x5000000000000001, true}, {-90, 0, 0xb000000000000001, true},
		{0, 180, 0x6fffffffffffffff, true}, {0, -180, 0x7000000000000001, true},
		{90.0000001, 0, 0, false}, {0, -180.5, 0, false}, {math.NaN(), 0, 0, false}, {0, math.Inf(1), 0, false},
	} {
		if got, ok := Cell(tc.lat, tc.lng); got != tc.want || ok != tc.ok {
			t.Errorf("cell of %v %v is %#x %v, want %#x %v", tc.lat, tc.lng, got, ok, tc.want, tc.ok)
		}
	}
}

// TestCellIsTheLibrarys: a leaf cell that is the library's, or touches it where the
// two round otherwise.
func TestCellIsTheLibrarys(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lat, lng := anywhere(t, "at")
		got, ok := Cell(lat, lng)
		want := s2.CellIDFromLatLng(s2.LatLngFromDegrees(lat, lng))
		if !ok || !s2.CellID(got).IsLeaf() || !s2.CellID(got).IsValid() {
			t.Fatalf("cell %#x %v", got, ok)
		}
		if apart := s2.CellID(got).Point().Distance(want.Point()).Radians() * EarthRadius; apart > 0.03 {
			t.Fatalf("cell %#x is %v m from the library's %#x", got, apart, uint64(want))
		}
	})
}

// TestCoverMissesNothing: every place in reach is in a cell of the cover.
func TestCoverMissesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lat, lng := anywhere(t, "centre")
		meters := rapid.OneOf(rapid.SampledFrom([]float64{0, 0.001, 1000, 20_015_114, 3e7}), rapid.Float64Range(0, 5e6)).Draw(t, "meters")
		cover := Cover(lat, lng, meters, rapid.IntRange(1, 12).Draw(t, "cells"))
		for i := range cover {
			if cover[i].Lo > cover[i].Hi || i > 0 && cover[i].Lo <= cover[i-1].Hi {
				t.Fatalf("ranges %x", cover)
			}
		}
		other, otherLng := anywhere(t, "place")
		if rapid.Bool().Draw(t, "near") { // to the very edge of the circle
			center := s2.PointFromLatLng(s2.LatLngFromDegrees(lat, lng))
			angle := math.Min(meters/EarthRadius, math.Pi) * rapid.SampledFrom([]float64{0, 0.5, 1}).Draw(t, "part")
			turn := rapid.Float64Range(0, 2*math.Pi).Draw(t, "turn")
			east := s2.Ortho(center)
			north := center.Cross(east.Vector)
			p := center.Mul(math.Cos(angle)).Add(east.Mul(math.Sin(angle) * math.Cos(turn))).Add(north.Mul(math.Sin(angle) * math.Sin(turn)))
			at := s2.LatLngFromPoint(s2.Point{Vector: p})
			other, otherLng = at.Lat.Degrees(), at.Lng.Degrees()
		}
		if Distance(lat, lng, other, otherLng) > int64(meters*1000) {
			return
		}
		cell, ok := Cell(other, otherLng)
		if !ok {
			return
		}
		for _, r := range cover {
			if r.Lo <= cell && cell <= r.Hi {
				return
			}
		}
		t.Fatalf("cell %#x of %v %v is in none of %x", cell, other, otherLng, cover)
	})
}

func BenchmarkDistance(b *testing.B) {
	for b.Loop() {
		_ = Distance(37.7749, -122.4194, 43.6532, -79.3832)
	}
}

func BenchmarkCell(b *testing.B) {
	for b.Loop() {
		_, _ = Cell(37.7749, -122.4194)
	}
}
