package data

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// Zipf draws numbers below a bound with a zipfian distribution: rank k has
// probability proportional to 1/(k+1)^theta, and ranks are scattered over the
// range, so that hot keys are not neighbours. (math/rand's Zipf cannot take an
// exponent below one; 0.99 is what key-value benchmarks agree on. The method
// is that of Gray et al., Quickly generating billion-record synthetic
// databases, 1994.)
type Zipf struct {
	n                       uint64
	theta, alpha, zeta, eta float64
}

// Theta is the exponent of the zipfian workloads.
const Theta = 0.99

// NewZipf returns a distribution over 0…n-1. Making one costs a pass over n;
// drawing is cheap, and safe for concurrent use with one rng a goroutine.
func NewZipf(n uint64, theta float64) (*Zipf, error) {
	if n < 2 || theta <= 0 || theta >= 1 {
		return nil, fmt.Errorf("zipf over %d values with exponent %g: want at least 2, and an exponent between 0 and 1", n, theta)
	}
	z := &Zipf{n: n, theta: theta, alpha: 1 / (1 - theta)}
	for i := uint64(1); i <= n; i++ {
		z.zeta += 1 / math.Pow(float64(i), theta)
	}
	zeta2 := 1 + math.Pow(0.5, theta)
	z.eta = (1 - math.Pow(2/float64(n), 1-theta)) / (1 - zeta2/z.zeta)
	return z, nil
}

// Rank draws a rank; 0 is the most frequent.
func (z *Zipf) Rank(rng *rand.Rand) uint64 {
	u := rng.Float64()
	uz := u * z.zeta
	switch {
	case uz < 1:
		return 0
	case uz < 1+math.Pow(0.5, z.theta):
		return 1
	}
	return min(z.n-1, uint64(float64(z.n)*math.Pow(z.eta*u-z.eta+1, z.alpha)))
}

// Next draws a key: a rank, scattered. Two ranks may share a key.
func (z *Zipf) Next(rng *rand.Rand) uint64 {
	return scatter(z.Rank(rng)) % z.n
}

// scatter is the finaliser of splitmix64, a bijection that looks random.
func scatter(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
