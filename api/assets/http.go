package assets

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// WantsData reports whether an Accept header asks for the data of an entity rather than
// the entity: its best media range is neither what entities are sent as nor what a
// browser sends for a page (spec assets-events-counters section 3).
func WantsData(accept string) bool {
	best, data := 0.0, false
	for part := range strings.SplitSeq(accept, ",") {
		media, params, _ := strings.Cut(part, ";")
		media = strings.ToLower(strings.TrimSpace(media))
		if q := quality(params); media != "" && q > best {
			best, data = q, !asEntity(media)
		}
	}
	return data
}

// asEntity reports whether an entity is an answer to a media range.
func asEntity(media string) bool {
	kind, sub, ok := strings.Cut(media, "/")
	switch {
	case !ok: // "*" of old clients, or no media range at all
		return true
	case sub == "*":
		return kind == "*" || kind == "application" || kind == "text"
	case strings.HasSuffix(sub, "+json"):
		return true
	}
	switch media {
	case "application/json", "text/json", "text/html", "application/xhtml+xml",
		"application/javascript", "application/x-javascript", "text/javascript",
		"application/ecmascript", "text/ecmascript", "text/jscript":
		return true
	}
	return false
}

// quality returns the weight of a media range: 1 if its parameters say nothing of it that
// can be understood.
func quality(params string) float64 {
	for param := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(param, "=")
		if strings.EqualFold(strings.TrimSpace(name), "q") {
			if q, err := strconv.ParseFloat(strings.TrimSpace(value), 64); err == nil && q >= 0 && q <= 1 {
				return q
			}
		}
	}
	return 1
}

// Range is a part of data.
type Range struct{ Offset, Size int64 }

// ParseRange reads a Range header for data of a size. Whole is true if all of it is to be
// sent: no range is asked for, several are, or what is asked for is no range of bytes.
// ok is false if the data has nothing of the range.
func ParseRange(header string, size int64) (r Range, whole, ok bool) {
	all := Range{Size: size}
	unit, spec, found := strings.Cut(header, "=")
	if !found || !strings.EqualFold(strings.TrimSpace(unit), "bytes") || strings.Contains(spec, ",") {
		return all, true, true
	}
	first, last, found := strings.Cut(strings.TrimSpace(spec), "-")
	first, last = strings.TrimSpace(first), strings.TrimSpace(last)
	if !found || first == "" && last == "" {
		return all, true, true
	}
	from, valid := position(first, 0)
	to, valid2 := position(last, size)
	if !valid || !valid2 {
		return all, true, true
	}
	switch {
	case first == "": // the last so many bytes
		n := min(to, size)
		return Range{size - n, n}, false, n > 0
	case last != "" && to < from:
		return all, true, true
	case from >= size:
		return Range{}, false, false
	case last == "" || to >= size:
		return Range{from, size - from}, false, true
	}
	return Range{from, to - from + 1}, false, true
}

// position reads a number of bytes; a number too large to count is a very large one.
func position(digits string, absent int64) (int64, bool) {
	if digits == "" {
		return absent, true
	}
	for _, c := range []byte(digits) {
		if c < '0' || c > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return 1<<63 - 1, true
	}
	return n, true
}

// Unchanged reports whether the conditions of a request say that the client has what it
// asks for. If it names tags, the time means nothing (RFC 9110 section 13.2.2).
func Unchanged(noneMatch, since, etag string, modified time.Time) bool {
	if noneMatch != "" {
		return matches(noneMatch, etag)
	}
	t, err := http.ParseTime(since)
	return since != "" && err == nil && !modified.Truncate(time.Second).After(t)
}

// matches compares a list of tags with one, weakly.
func matches(list, etag string) bool {
	for tag := range strings.SplitSeq(list, ",") {
		tag = strings.TrimSpace(tag)
		if tag == "*" || tag == etag || strings.TrimPrefix(tag, "W/") == etag {
			return true
		}
	}
	return false
}

// StillSame reports whether an If-Range header lets a range be sent: it is absent, or
// names what the data is now.
func StillSame(ifRange, etag string, modified time.Time) bool {
	if ifRange == "" || ifRange == etag {
		return true
	}
	t, err := http.ParseTime(ifRange)
	return err == nil && modified.Truncate(time.Second).Equal(t)
}
