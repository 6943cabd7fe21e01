package data

import (
	"math/rand/v2"
	"strconv"
)

// EntityBytes is the size of a generated entity as JSON.
const EntityBytes = 255

// Words of categories, colours and cities; what they say is of no importance,
// that they repeat is: real properties do.
func categories() [8]string {
	return [8]string{"garden", "kitchen", "office", "outdoor", "workshop", "library", "music", "travel"}
}

func colours() [8]string {
	return [8]string{"amber", "azure", "coral", "ivory", "olive", "pearl", "scarlet", "teal"}
}

// Name is the unique name of entity n of a seed.
func Name(prefix string, seed, n uint64) string {
	return string(appendName(nil, prefix, seed, n))
}

func appendName(dst []byte, prefix string, seed, n uint64) []byte {
	dst = append(dst, prefix...)
	dst = append(dst, '-')
	dst = strconv.AppendUint(dst, seed, 36)
	dst = append(dst, '-')
	return strconv.AppendUint(dst, n, 10)
}

// AppendEntity appends the JSON of entity n of a seed: exactly EntityBytes
// bytes, with eight properties. The name begins with prefix, which must be
// shorter than 20 bytes and need no escaping.
func AppendEntity(dst []byte, prefix string, seed, n uint64) []byte {
	start := len(dst)
	rng := newRand(seed, n)
	dst = append(dst, `{"name":"`...)
	dst = appendName(dst, prefix, seed, n)
	dst = append(dst, `","category":"`...)
	dst = append(dst, categories()[rng.IntN(8)]...)
	dst = append(dst, `","colour":"`...)
	dst = append(dst, colours()[rng.IntN(8)]...)
	dst = append(dst, `","price":`...)
	dst = strconv.AppendInt(dst, int64(rng.IntN(1000)), 10)
	dst = append(dst, '.')
	dst = strconv.AppendInt(dst, int64(1+rng.IntN(9)), 10)
	dst = append(dst, `,"stock":`...)
	dst = strconv.AppendInt(dst, int64(rng.IntN(10000)), 10)
	dst = append(dst, `,"active":`...)
	dst = strconv.AppendBool(dst, rng.IntN(2) == 0)
	dst = append(dst, `,"tags":["`...)
	dst = append(dst, colours()[rng.IntN(8)]...)
	dst = append(dst, `","`...)
	dst = append(dst, categories()[rng.IntN(8)]...)
	dst = append(dst, `"],"note":"`...)
	for len(dst)-start < EntityBytes-2 {
		dst = append(dst, byte('a'+rng.IntN(26)))
	}
	return append(dst, `"}`...)
}

// AppendUpdate appends the JSON body of an update that changes two properties.
func AppendUpdate(dst []byte, rng *rand.Rand) []byte {
	dst = append(dst, `{"price":`...)
	dst = strconv.AppendInt(dst, int64(rng.IntN(100000)), 10)
	dst = append(dst, `,"stock":`...)
	dst = strconv.AppendInt(dst, int64(rng.IntN(10000)), 10)
	return append(dst, '}')
}

func newRand(seed, n uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, n)) }
