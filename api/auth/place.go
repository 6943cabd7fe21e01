package auth

import (
	"math/bits"
	"strings"
)

// Place is one place of a path that can be written in several ways: an entity by its
// UUID and by each of its names.
type Place struct {
	// Spellings are the ways to write it, each of one segment or more. There is one at
	// least, and each has a segment.
	Spellings [][]string
	// User says that it names an app user, and Self that this is the caller: then the
	// variable of a pattern stands for nobody else, whatever others call themselves.
	User, Self bool
}

// Literal makes places of segments that can be written in one way only.
func Literal(segments []string) []Place {
	places := make([]Place, len(segments))
	for i := range segments {
		places[i].Spellings = [][]string{segments[i : i+1]}
	}
	return places
}

// states says which segments of a pattern can come next: bit i is set if the first i
// have been matched. A pattern has fewer segments than the word has bits.
type states uint64

// close adds to s what ** allows, which may match nothing.
func (s states) close(pat []segment) states {
	for i := range pat {
		if s>>i&1 != 0 && pat[i].deep {
			s |= 1 << (i + 1)
		}
	}
	return s
}

// step is what s becomes by one segment of a path.
func (s states) step(pat []segment, place *Place, text string, first bool, user string) (next states) {
	for left := s; left != 0; left &= left - 1 {
		switch i := bits.TrailingZeros64(uint64(left)); {
		case i == len(pat):
		case pat[i].deep:
			next |= 1 << i
		case pat[i].matchesAt(place, text, first, user):
			next |= 1 << (i + 1)
		}
	}
	return next.close(pat)
}

// matchesAt is matches for a segment in a place. Whom a place names is known: the
// variable is not compared with what is written there.
func (s *segment) matchesAt(place *Place, text string, first bool, user string) bool {
	if place.User {
		for i := range s.parts {
			if s.parts[i].kind == partUser {
				return place.Self && len(s.parts) == 1
			}
		}
	}
	return s.matches(text, first, user)
}

// matchPlaces is matchPath for all the paths that the places spell.
func matchPlaces(pat []segment, places []Place, user string) bool {
	now := states(1).close(pat)
	for i := range places {
		var next states
		for _, spelling := range places[i].Spellings {
			at := now
			for j, text := range spelling {
				at = at.step(pat, &places[i], text, i+j == 0, user)
			}
			next |= at
		}
		if now = next; now == 0 {
			return false
		}
	}
	return now>>len(pat)&1 != 0
}

// matchesPlaces is matches for all the paths that the places spell.
func (pat *pattern) matchesPlaces(op Op, places []Place, caller Caller) bool {
	names := []string{""}
	if pat.user {
		if caller.ID.IsZero() {
			return false
		}
		names = []string{strings.ToLower(caller.Username), caller.ID.String()}
	}
	for _, name := range names {
		if pat.user && name == "" {
			continue
		}
		if matchPlaces(pat.segments, places, name) {
			return true
		}
		if pat.lastAny && op&(Put|Delete) == 0 && matchPlaces(pat.segments[:len(pat.segments)-1], places, name) {
			return true
		}
	}
	return false
}

// grantsAt is grants for all the paths that the places spell.
func (s *Set) grantsAt(op Op, p *placed, caller Caller) bool {
	if s.everything&op != 0 {
		return true
	}
	o := &s.of[bits.TrailingZeros8(byte(op))]
	any := func(patterns []*pattern) bool {
		for _, pat := range patterns {
			if pat.matchesPlaces(op, p.places, caller) {
				return true
			}
		}
		return false
	}
	if b := o.first[p.first]; b != nil {
		for _, second := range p.seconds {
			if any(b.second[second]) {
				return true
			}
		}
		if any(b.rest) {
			return true
		}
	}
	return any(o.rest)
}

// placed are places as they are looked up in sets.
type placed struct {
	places  []Place
	first   string
	seconds []string
}

func place(places []Place) placed {
	p := placed{places: places, seconds: []string{""}}
	if len(places) > 0 {
		p.first = spell(places[0].Spellings[0]).first
	}
	if len(places) > 1 {
		p.seconds = p.seconds[:0]
		for _, spelling := range places[1].Spellings {
			p.seconds = append(p.seconds, strings.ToLower(spelling[0]))
		}
	}
	return p
}

// MayAt reports whether an operation is granted on one of the paths that the places
// spell. The first place is a collection, written as one segment.
func (a *Access) MayAt(op Op, places []Place) bool {
	if a.everything {
		return true
	}
	if op == 0 {
		return false
	}
	p := place(places)
	for _, set := range a.grants {
		if set.grantsAt(op, &p, a.caller) {
			return true
		}
	}
	return false
}
