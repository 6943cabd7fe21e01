package entity_test

import (
	"testing"
	"time"

	"github.com/trellisdb/trellis/storage/entity"
)

func TestParseResolution(t *testing.T) {
	for text, want := range map[string]entity.Resolution{
		"": entity.Whole, "all": entity.Whole, "six_day": entity.Whole, "hours": entity.Whole, "-5": entity.Whole, "0": entity.Whole, "1.5": entity.Whole,
		"minute": entity.Minute, "MINUTE": entity.Minute, "Five_Minutes": entity.FiveMinutes, "half_hour": entity.HalfHour, "hour": entity.Hour,
		"six_hour": entity.SixHours, "half_day": entity.HalfDay, "day": entity.Day, "week": entity.Week, "month": entity.Month,
		"1": entity.Minute, "4": entity.Minute, "5": entity.FiveMinutes, "29": entity.FiveMinutes, "30": entity.HalfHour, "60": entity.Hour,
		"359": entity.Hour, "360": entity.SixHours, "1439": entity.HalfDay, "1440": entity.Day, "10080": entity.Week, "43199": entity.Week, "43200": entity.Month,
		"99999999999999999999": entity.Month, "-99999999999999999999": entity.Whole,
	} {
		if got := entity.ParseResolution(text); got != want {
			t.Errorf("%q is %d, want %d", text, got, want)
		}
	}
}

func TestBuckets(t *testing.T) {
	at := time.Date(2017, 7, 14, 13, 47, 59, 0, time.UTC).UnixMilli() // a Friday
	for r, want := range map[entity.Resolution]time.Time{
		entity.Minute:      time.Date(2017, 7, 14, 13, 47, 0, 0, time.UTC),
		entity.FiveMinutes: time.Date(2017, 7, 14, 13, 45, 0, 0, time.UTC),
		entity.HalfHour:    time.Date(2017, 7, 14, 13, 30, 0, 0, time.UTC),
		entity.Hour:        time.Date(2017, 7, 14, 13, 0, 0, 0, time.UTC),
		entity.SixHours:    time.Date(2017, 7, 14, 12, 0, 0, 0, time.UTC),
		entity.HalfDay:     time.Date(2017, 7, 14, 12, 0, 0, 0, time.UTC),
		entity.Day:         time.Date(2017, 7, 14, 0, 0, 0, 0, time.UTC),
		entity.Week:        time.Date(2017, 7, 13, 0, 0, 0, 0, time.UTC), // a Thursday
		entity.Month:       time.UnixMilli(578 * 30 * 24 * 3600 * 1000),
	} {
		begin := r.Bucket(at)
		if begin != want.UnixMilli() {
			t.Errorf("resolution %d begins at %s, want %s", r, time.UnixMilli(begin).UTC(), want.UTC())
		}
		if r.Bucket(begin) != begin || r.Bucket(begin+r.Interval()-1) != begin || r.Bucket(begin+r.Interval()) != begin+r.Interval() {
			t.Errorf("resolution %d: the borders of a bucket", r)
		}
	}
	if entity.Whole.Bucket(at) != 0 || entity.Day.Bucket(-1) != 0 {
		t.Error("what has no bucket of its own")
	}
}
