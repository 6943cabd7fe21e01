package data

import (
	"strconv"
)

// What the properties of records are drawn from. Ranks lie below RankBound
// whatever number of records there is, so a range of ranks finds a share of
// them that is known.
const (
	Categories = 100
	Towns      = 500
	Tags       = 50
	Vocabulary = 5000
	RankBound  = 1 << 31
	ScoreBound = 1000
)

// Statuses are the values of a record's status.
func Statuses() [5]string { return [5]string{"draft", "open", "paused", "closed", "filed"} }

// Records makes entities of twelve properties that queries are asked about:
// name (unique), status (5 values), category (100), score (a float), rank (an
// integer that hardly repeats), added (milliseconds, in the order of numbers),
// tags (an array), title (words with a zipfian distribution), location, active,
// text (words with a uniform one) and nested.city (500 values).
//
// A record follows from seed and number. Records is safe for concurrent use.
type Records struct {
	seed uint64
	zipf *Zipf
}

// NewRecords returns the records of a seed.
func NewRecords(seed uint64) (*Records, error) {
	z, err := NewZipf(Vocabulary, Theta)
	if err != nil {
		return nil, err
	}
	return &Records{seed: seed, zipf: z}, nil
}

const recordPrefix = "record"

// Name is the unique name of record n.
func (r *Records) Name(n uint64) string { return Name(recordPrefix, r.seed, n) }

// Category is category n.
func Category(n int) string { return "category-" + strconv.Itoa(n) }

// Town is what nested.city n says.
func Town(n int) string { return Word(Vocabulary+n) + " city" }

// syllables of a word.
const (
	onsets        = "bdfghklmnprstv"
	vowels        = "aeiou"
	syllableCount = len(onsets) * len(vowels)
)

// Word is word n: three syllables. In titles word 0 is the most frequent, and
// word Vocabulary-1 the rarest. No word holds a c, j, q, w, x, y or z.
func Word(n int) string { return string(appendWord(nil, n)) }

func appendWord(dst []byte, n int) []byte {
	const stride = 7919 // neighbours in rank are unlike; prime, so that no two words are the same
	n = (n*stride + 1234) % (syllableCount * syllableCount * syllableCount)
	for range 3 {
		s := n % syllableCount
		dst = append(dst, onsets[s/len(vowels)], vowels[s%len(vowels)])
		n /= syllableCount
	}
	return dst
}

// Append appends the JSON of record n.
func (r *Records) Append(dst []byte, n uint64) []byte {
	rng := newRand(r.seed^0x7265636f7264, n)
	dst = append(dst, `{"name":"`...)
	dst = appendName(dst, recordPrefix, r.seed, n)
	dst = append(dst, `","status":"`...)
	dst = append(dst, Statuses()[rng.IntN(5)]...)
	dst = append(dst, `","category":"category-`...)
	dst = strconv.AppendInt(dst, int64(rng.IntN(Categories)), 10)
	dst = append(dst, `","score":`...)
	dst = strconv.AppendFloat(dst, rng.Float64()*ScoreBound, 'f', 4, 64)
	dst = append(dst, `,"rank":`...)
	dst = strconv.AppendInt(dst, int64(rng.IntN(RankBound)), 10)
	dst = append(dst, `,"added":`...)
	const firstAdded, apart = 1_700_000_000_000, 1000
	dst = strconv.AppendUint(dst, firstAdded+n*apart+rng.Uint64N(apart), 10)
	dst = append(dst, `,"tags":["tag-`...)
	first := rng.IntN(Tags)
	dst = strconv.AppendInt(dst, int64(first), 10)
	dst = append(dst, `","tag-`...)
	dst = strconv.AppendInt(dst, int64((first+1+rng.IntN(Tags-1))%Tags), 10)
	dst = append(dst, `"],"title":"`...)
	dst = appendWords(dst, 4+rng.IntN(4), func() int { return int(r.zipf.Rank(rng)) })
	dst = append(dst, `","location":{"latitude":`...)
	dst = strconv.AppendFloat(dst, -60+rng.Float64()*130, 'f', 5, 64)
	dst = append(dst, `,"longitude":`...)
	dst = strconv.AppendFloat(dst, -180+rng.Float64()*360, 'f', 5, 64)
	dst = append(dst, `},"active":`...)
	dst = strconv.AppendBool(dst, rng.IntN(2) == 0)
	dst = append(dst, `,"text":"`...)
	dst = appendWords(dst, 12, func() int { return rng.IntN(Vocabulary) })
	dst = append(dst, `","nested":{"city":"`...)
	dst = append(dst, Town(rng.IntN(Towns))...)
	return append(dst, `"}}`...)
}

func appendWords(dst []byte, n int, draw func() int) []byte {
	for i := range n {
		if i > 0 {
			dst = append(dst, ' ')
		}
		dst = appendWord(dst, draw())
	}
	return dst
}
