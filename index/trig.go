package index

import "math"

// Sine, cosine and arctangent after Cephes (Stephen L. Moshier), as the package
// math has them, but with every product rounded by itself: some processors fuse a
// multiplication with the addition that follows, and all must come to the same bits.

const (
	quarterA = 7.85398125648498535156e-1 // π/4 in three parts, the first two with trailing zeros
	quarterB = 3.77489470793079817668e-8
	quarterC = 2.69515142907905952645e-15
)

// sincos returns sine and cosine of an angle of less than 2³⁰ radians.
func sincos(x float64) (sin, cos float64) {
	negative := x < 0
	x = math.Abs(x)
	j := uint64(x * (4 / math.Pi))
	if j&1 == 1 {
		j++
	}
	y := float64(j)
	z := ((x - float64(y*quarterA)) - float64(y*quarterB)) - float64(y*quarterC)
	zz := float64(z * z)
	c := polynomial(zz, -1.13585365213876817300e-11, 2.08757008419747316778e-9, -2.75573141792967388112e-7,
		2.48015872888517045348e-5, -1.38888888888730564116e-3, 4.16666666666665929218e-2)
	s := polynomial(zz, 1.58962301576546568060e-10, -2.50507477628578072866e-8, 2.75573136213857245213e-6,
		-1.98412698295895385996e-4, 8.33333333332211858878e-3, -1.66666666666666307295e-1)
	cos = 1 - float64(0.5*zz) + float64(float64(zz*zz)*c)
	sin = z + float64(float64(z*zz)*s)
	switch j & 7 {
	case 2:
		sin, cos = cos, -sin
	case 4:
		sin, cos = -sin, -cos
	case 6:
		sin, cos = -cos, sin
	}
	if negative {
		sin = -sin
	}
	return sin, cos
}

// polynomial returns the value at x of the one with the given coefficients, that of
// the highest power first.
func polynomial(x float64, coefficients ...float64) float64 {
	var sum float64
	for _, c := range coefficients {
		sum = float64(sum*x) + c
	}
	return sum
}

// arctan returns the arctangent of x, which is not negative and may be infinite.
func arctan(x float64) float64 {
	const (
		more    = 6.123233995736765886130e-17 // what π/2 as a float64 lacks
		tan3Pi8 = 2.41421356237309504880
	)
	switch {
	case x <= 0.66:
		return arctanNear0(x)
	case x > tan3Pi8:
		return math.Pi/2 - arctanNear0(1/x) + more
	}
	return math.Pi/4 + arctanNear0((x-1)/(x+1)) + 0.5*more
}

func arctanNear0(x float64) float64 {
	z := float64(x * x)
	p := polynomial(z, -8.750608600031904122785e-01, -1.615753718733365076637e+01, -7.500855792314704667340e+01,
		-1.228866684490136173410e+02, -6.485021904942025371773e+01)
	q := polynomial(z, 1, +2.485846490142306297962e+01, +1.650270098316988542046e+02, +4.328810604912902668951e+02,
		+4.853903996359136964868e+02, +1.945506571482613964425e+02)
	return float64(x*float64(z*p/q)) + x
}
