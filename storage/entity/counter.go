package entity

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// CounterID is the number of a counter within its application. 0 is none.
type CounterID uint32

// Dimensions are what an increment is told apart by. A zero UUID or an empty category
// stands for any.
type Dimensions struct {
	User, Group ID
	Category    string
}

// Bits of the dimensions that are given.
const (
	ByUser     byte = 1
	ByGroup    byte = 2
	ByCategory byte = 4
)

// Given says which of the dimensions are not any.
func (d *Dimensions) Given() (bits byte) {
	if !d.User.IsZero() {
		bits |= ByUser
	}
	if !d.Group.IsZero() {
		bits |= ByGroup
	}
	if d.Category != "" {
		bits |= ByCategory
	}
	return bits
}

// Only returns d with all dimensions any but those of bits.
func (d *Dimensions) Only(bits byte) (some Dimensions) {
	if bits&ByUser != 0 {
		some.User = d.User
	}
	if bits&ByGroup != 0 {
		some.Group = d.Group
	}
	if bits&ByCategory != 0 {
		some.Category = d.Category
	}
	return some
}

// Resolution is a width of the buckets in which counters are kept. Numbers are part of
// the format.
type Resolution byte

// The resolutions. A counter is kept in Whole, Minute, Hour and Day, of which the others
// are made: see Base.
const (
	Whole Resolution = iota // one bucket for all times
	Minute
	FiveMinutes
	HalfHour
	Hour
	SixHours
	HalfDay
	Day
	Week
	Month
)

// Resolutions is how many there are.
const Resolutions = 10

// String returns the name by which clients know the resolution.
func (r Resolution) String() string {
	names := [Resolutions]string{"all", "minute", "five_minutes", "half_hour", "hour", "six_hour", "half_day", "day", "week", "month"}
	if r >= Resolutions {
		return "resolution " + strconv.Itoa(int(r))
	}
	return names[r]
}

// CounterCell is a bucket of a counter as it leaves an application.
type CounterCell struct {
	Resolution Resolution
	Bucket     int64  // begin, ms since the epoch
	Value      int64  // if Clears is not set
	Reset      uint64 // number of the reset that it comes after; 0: none
	Clears     bool   // it is no sum: the bucket was reset, and Reset is the number of that
}

// Interval is the width of a bucket in ms; 0 for Whole.
func (r Resolution) Interval() int64 {
	const minute = int64(time.Minute / time.Millisecond)
	switch r {
	case Minute:
		return minute
	case FiveMinutes:
		return 5 * minute
	case HalfHour:
		return 30 * minute
	case Hour:
		return 60 * minute
	case SixHours:
		return 6 * 60 * minute
	case HalfDay:
		return 12 * 60 * minute
	case Day:
		return 24 * 60 * minute
	case Week:
		return 7 * 24 * 60 * minute
	case Month:
		return 30 * 24 * 60 * minute
	}
	return 0
}

// Bucket returns when the bucket begins that a time lies in, both in ms since the
// epoch: the time rounded down to a multiple of the interval, so weeks begin on
// Thursdays and months have 30 days. Times before the epoch count as the epoch. It is 0
// for Whole.
func (r Resolution) Bucket(at int64) int64 {
	interval := r.Interval()
	if interval == 0 || at < 0 {
		return 0
	}
	return at - at%interval
}

// Base is the resolution whose buckets make up those of r: r itself, if it is kept. A
// bucket begins where one of its base does.
func (r Resolution) Base() Resolution {
	switch r {
	case FiveMinutes, HalfHour:
		return Minute
	case SixHours, HalfDay:
		return Hour
	case Week, Month:
		return Day
	}
	return r
}

// ParseResolution reads a resolution as clients name it: a name in any case, or a number
// of minutes, which stands for the widest bucket that is no wider. What is unknown is
// Whole.
func ParseResolution(text string) Resolution {
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "minute":
		return Minute
	case "five_minutes":
		return FiveMinutes
	case "half_hour":
		return HalfHour
	case "hour":
		return Hour
	case "six_hour":
		return SixHours
	case "half_day":
		return HalfDay
	case "day":
		return Day
	case "week":
		return Week
	case "month":
		return Month
	}
	minutes, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return Whole
	}
	for r := Month; r > Whole; r-- { // beyond the range ParseInt returns the end of it
		if r.Interval()/Minute.Interval() <= minutes {
			return r
		}
	}
	return Whole
}
