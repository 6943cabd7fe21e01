package index

import (
	"math"

	"github.com/golang/geo/s1"
	"github.com/golang/geo/s2"
)

// EarthRadius is the mean radius of the earth in metres.
const EarthRadius = 6371008.8

// coverMargin is how much further than asked a cover reaches, in metres: far more
// than the rounding of Cell, far less than anyone sees.
const coverMargin = 0.001

// CellRange is a range of leaf cells, both ends included.
type CellRange struct{ Lo, Hi uint64 }

// InRange reports whether a place is one on earth. What is not has no geo entry.
func InRange(lat, lng float64) bool {
	return lat >= -90 && lat <= 90 && lng >= -180 && lng <= 180
}

// vector is a point of the unit sphere.
type vector struct{ x, y, z float64 }

func place(lat, lng float64) vector {
	const degree = math.Pi / 180
	sinLat, cosLat := sincos(float64(lat * degree))
	sinLng, cosLng := sincos(float64(lng * degree))
	return vector{x: float64(cosLng * cosLat), y: float64(sinLng * cosLat), z: sinLat}
}

// length returns that of v, whose parts are at most 2.
func (v vector) length() float64 {
	return math.Sqrt(float64(float64(v.x*v.x)+float64(v.y*v.y)) + float64(v.z*v.z))
}

// Distance returns how far two places on earth are from each other, along a great
// circle, in whole millimetres. All processors come to the same number.
func Distance(lat1, lng1, lat2, lng2 float64) int64 {
	p, q := place(lat1, lng1), place(lat2, lng2)
	apart := vector{p.x - q.x, p.y - q.y, p.z - q.z}.length()
	along := vector{p.x + q.x, p.y + q.y, p.z + q.z}.length()
	// Unlike the usual formulas this one is exact at any distance. The two lengths
	// are never both zero.
	angle := 2 * arctan(apart/along)
	return int64(math.Round(float64(angle * (EarthRadius * 1000))))
}

// Cell returns the number of the S2 leaf cell a place lies in; false if it is not
// on earth. It is part of the format on disk, and all processors come to the same
// number, which is why the library's own way from a place to its cell is not used.
func Cell(lat, lng float64) (uint64, bool) {
	if !InRange(lat, lng) {
		return 0, false
	}
	face, u, v := project(place(lat, lng))
	return hilbert(face, gridLine(u), gridLine(v)), true
}

// project returns the face of the cube around the sphere that p is seen on, and
// where on it, both coordinates between -1 and 1.
func project(p vector) (face uint64, u, v float64) {
	x, y, z := math.Abs(p.x), math.Abs(p.y), math.Abs(p.z)
	switch {
	case x > y && x > z:
		if p.x >= 0 {
			return 0, p.y / p.x, p.z / p.x
		}
		return 3, p.z / p.x, p.y / p.x
	case y >= x && y > z:
		if p.y >= 0 {
			return 1, -p.x / p.y, p.z / p.y
		}
		return 4, p.z / p.y, -p.x / p.y
	}
	if p.z >= 0 {
		return 2, -p.x / p.z, -p.y / p.z
	}
	return 5, -p.y / p.z, -p.x / p.z
}

// leafLevel is how often a face is cut in four to have leaf cells.
const leafLevel = 30

// gridLine returns which of the 2³⁰ columns or rows of a face a coordinate is in.
// Cells are of more even size by the quadratic in it.
func gridLine(u float64) uint64 {
	var s float64
	if u >= 0 {
		s = 0.5 * math.Sqrt(1+float64(3*u))
	} else {
		s = 1 - float64(0.5*math.Sqrt(1-float64(3*u)))
	}
	line := int64(math.Floor(s * (1 << leafLevel)))
	return uint64(min(max(line, 0), 1<<leafLevel-1))
}

// Orientations of the Hilbert curve in a cell, and where it passes the quarters.
var (
	quarterAt   = [4][4]uint64{{0, 1, 3, 2}, {0, 3, 1, 2}, {2, 3, 1, 0}, {2, 1, 3, 0}}
	orientation = [4]uint64{1, 0, 0, 3}
)

// hilbert returns the number of the leaf cell at a column and a row of a face:
// face 3 bits · place on the curve 60 bits · 1.
func hilbert(face, column, row uint64) uint64 {
	id, turn := face, face&1
	for bit := leafLevel - 1; bit >= 0; bit-- {
		quarter := quarterAt[turn][(column>>bit&1)<<1|row>>bit&1]
		id = id<<2 | quarter
		turn ^= orientation[quarter]
	}
	return id<<1 | 1
}

// Cover returns ranges of leaf cells, in order and apart from each other, that
// contain every place at most so many metres from one that is on earth, and some
// more. They come from at most maxCells cells, but never from fewer than the few
// (at most six) that it takes.
func Cover(lat, lng, meters float64, maxCells int) []CellRange {
	center := s2.PointFromLatLng(s2.LatLngFromDegrees(lat, lng))
	angle := s1.Angle((meters+coverMargin)/EarthRadius) * (1 + 1e-12)
	coverer := s2.RegionCoverer{MaxLevel: leafLevel, LevelMod: 1, MaxCells: maxCells}
	var ranges []CellRange
	for _, cell := range coverer.Covering(s2.CapFromCenterAngle(center, angle)) {
		lo, hi := uint64(cell.RangeMin()), uint64(cell.RangeMax())
		if n := len(ranges); n > 0 && ranges[n-1].Hi+2 >= lo {
			ranges[n-1].Hi = max(ranges[n-1].Hi, hi)
			continue
		}
		ranges = append(ranges, CellRange{Lo: lo, Hi: hi})
	}
	return ranges
}
