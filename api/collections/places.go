package collections

import (
	"encoding/binary"

	"github.com/trellisdb/trellis/query/cursor"
	"github.com/trellisdb/trellis/storage/fault"
)

const placesVersion = 1

// appendPlaces appends a position of a walk: version 1 · for each step past 1 · created
// varint · number uvarint · cursor with its length as uvarint before it.
func appendPlaces(dst []byte, places []place) []byte {
	dst = append(dst, placesVersion)
	for i := range places {
		p := &places[i]
		past := byte(0)
		if p.past {
			past = 1
		}
		dst = binary.AppendVarint(append(dst, past), p.at.created)
		dst = binary.AppendUvarint(dst, p.at.number)
		dst = append(binary.AppendUvarint(dst, uint64(len(p.cursor))), p.cursor...)
	}
	return dst
}

// decodePlaces reads what appendPlaces wrote of so many steps; nothing is the beginning.
func decodePlaces(b []byte, steps int) ([]place, error) {
	places := make([]place, steps)
	if len(b) == 0 {
		return places, nil
	}
	bad := fault.New(fault.IllegalArgument, "position among the devices of a notification: damaged or of another version")
	if b[0] != placesVersion {
		return nil, bad
	}
	b = b[1:]
	for i := range places {
		p := &places[i]
		if len(b) == 0 || b[0] > 1 {
			return nil, bad
		}
		p.past = b[0] == 1
		var n int
		if p.at.created, n = binary.Varint(b[1:]); n <= 0 {
			return nil, bad
		}
		b = b[1+n:]
		if p.at.number, n = binary.Uvarint(b); n <= 0 {
			return nil, bad
		}
		b = b[n:]
		size, n := binary.Uvarint(b)
		if n <= 0 || size > cursor.MaxText || size > uint64(len(b)-n) {
			return nil, bad
		}
		p.cursor, b = string(b[n:n+int(size)]), b[n+int(size):]
	}
	if len(b) > 0 {
		return nil, bad
	}
	return places, nil
}
