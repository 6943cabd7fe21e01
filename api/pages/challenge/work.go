package challenge

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/bits"
)

// Work asks the browser for a proof of work: a decimal number such that
// SHA-256 of "seal:number" begins with so many zero bits. The person is asked
// nothing, but JavaScript is needed. It is safe for concurrent use.
type Work struct {
	sealer sealer
	bits   int
}

const (
	// DefaultBits costs a browser some tenths of a second: 65 536 hashes on average.
	DefaultBits = 16

	maxBits   = 24
	maxDigits = 20
)

// NewWork checks cfg. Each of the bits, 1 to 24, doubles what an answer costs.
func NewWork(cfg Config, bits int) (*Work, error) {
	if bits < 1 || bits > maxBits {
		return nil, fmt.Errorf("challenge: proof of work of %d bits, want 1 to %d", bits, maxBits)
	}
	s, err := newSealer(cfg)
	if err != nil {
		return nil, err
	}
	return &Work{s, bits}, nil
}

// Issue asks a new question for a purpose.
func (w *Work) Issue(purpose string) Question {
	_, text := w.sealer.issue(purpose, w.bits)
	return Question{Seal: text, Bits: w.bits}
}

// Check returns IllegalArgument unless the answer proves the work, is to a
// question asked for this purpose, comes in time and has not been used.
func (w *Work) Check(_ context.Context, purpose string, answer Answer) error {
	read, err := w.sealer.open(purpose, answer.Challenge)
	if err != nil {
		return err
	}
	if read.bits == 0 || !proves(answer, read.bits) {
		return wrong(". Please try again.")
	}
	return w.sealer.spend(read)
}

// proves reports whether the answer is worth so many bits.
func proves(a Answer, want int) bool {
	if a.Response == "" || len(a.Response) > maxDigits {
		return false
	}
	for _, c := range []byte(a.Response) {
		if c < '0' || c > '9' {
			return false
		}
	}
	sum := sha256.Sum256([]byte(a.Challenge + ":" + a.Response))
	return bits.LeadingZeros32(binary.BigEndian.Uint32(sum[:])) >= want
}
