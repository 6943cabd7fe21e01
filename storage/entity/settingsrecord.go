package entity

import (
	"encoding/binary"

	"github.com/trellisdb/trellis/storage/fault"
)

const settingsVersion = 1

const settingsDeclared = 1

const (
	planNone = 1 << iota
	planAll
)

// AppendSettings appends the stored form of a collection's settings. Lists are their
// length and their elements, texts their length and their bytes, numbers uvarints.
//
//	version 1 · flags 1 · composites ever numbered · updated varint · reindexed varint ·
//	job 16 · updated by, queue index, index consistency, region: texts ·
//	plans, the current one first: list
//
//	a plan:      generation · flags 1 · fields, declared: lists of texts · composites: list
//	a composite: number · keys: list, each a text · descending 1
func AppendSettings(dst []byte, s *Settings) []byte {
	var flags byte
	if s.Declared {
		flags |= settingsDeclared
	}
	dst = append(dst, settingsVersion, flags)
	dst = binary.AppendUvarint(dst, uint64(s.Composites))
	dst = binary.AppendVarint(dst, s.Updated)
	dst = binary.AppendVarint(dst, s.Reindexed)
	dst = append(dst, s.Job[:]...)
	for _, text := range []string{s.UpdatedBy, s.QueueIndex, s.IndexConsistency, s.Region} {
		dst = appendText(dst, text)
	}
	dst = binary.AppendUvarint(dst, uint64(1+len(s.Older)))
	dst = appendPlan(dst, &s.Plan)
	for i := range s.Older {
		dst = appendPlan(dst, &s.Older[i])
	}
	return dst
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func appendPlan(dst []byte, p *IndexPlan) []byte {
	var flags byte
	if p.None {
		flags |= planNone
	}
	if p.All {
		flags |= planAll
	}
	dst = append(binary.AppendUvarint(dst, uint64(p.Generation)), flags)
	for _, list := range [][]string{p.Fields, p.Declared} {
		dst = binary.AppendUvarint(dst, uint64(len(list)))
		for _, field := range list {
			dst = appendText(dst, field)
		}
	}
	dst = binary.AppendUvarint(dst, uint64(len(p.Composites)))
	for i := range p.Composites {
		c := &p.Composites[i]
		dst = binary.AppendUvarint(dst, uint64(c.Number))
		dst = binary.AppendUvarint(dst, uint64(len(c.Keys)))
		for _, key := range c.Keys {
			dst = appendText(dst, key.Property)
			if key.Desc {
				dst = append(dst, 1)
			} else {
				dst = append(dst, 0)
			}
		}
	}
	return dst
}

// DecodeSettings reads what AppendSettings wrote, or returns fault.Corrupt.
func DecodeSettings(b []byte) (Settings, error) {
	var s Settings
	r := settingsReader{b: b}
	version, flags := r.byte(), r.byte()
	s.Declared = flags&settingsDeclared != 0
	s.Composites = r.number()
	s.Updated, s.Reindexed = r.varint(), r.varint()
	copy(s.Job[:], r.take(len(s.Job)))
	s.UpdatedBy, s.QueueIndex, s.IndexConsistency, s.Region = r.text(), r.text(), r.text(), r.text()
	for i := range r.count() {
		if plan := r.plan(); i == 0 {
			s.Plan = plan
		} else {
			s.Older = append(s.Older, plan)
		}
	}
	if r.bad || len(r.b) != 0 || version != settingsVersion || flags&^settingsDeclared != 0 || s.Plan.Generation == 0 {
		return Settings{}, fault.New(fault.Corrupt, "settings record: damaged or of another version")
	}
	return s, nil
}

// settingsReader takes values off the front of b until one is not there.
type settingsReader struct {
	b   []byte
	bad bool
}

func (r *settingsReader) take(n int) []byte {
	if n > len(r.b) {
		r.b, r.bad = nil, true
		return nil
	}
	taken := r.b[:n]
	r.b = r.b[n:]
	return taken
}

func (r *settingsReader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *settingsReader) varint() int64 {
	v, rest, ok := varint(r.b)
	if r.b = rest; !ok {
		r.b, r.bad = nil, true
	}
	return v
}

func (r *settingsReader) number() uint32 {
	v, rest, ok := uvarint(r.b)
	if r.b = rest; !ok || v > 1<<32-1 {
		r.b, r.bad = nil, true
		return 0
	}
	return uint32(v)
}

// count reads the length of a list, whose elements take a byte or more each.
func (r *settingsReader) count() int {
	n := int(r.number())
	if n > len(r.b) {
		r.b, r.bad = nil, true
		return 0
	}
	return n
}

func (r *settingsReader) text() string { return string(r.take(r.count())) }

func (r *settingsReader) plan() IndexPlan {
	p := IndexPlan{Generation: r.number()}
	flags := r.byte()
	p.None, p.All = flags&planNone != 0, flags&planAll != 0
	r.bad = r.bad || flags&^(planNone|planAll) != 0
	for _, list := range []*[]string{&p.Fields, &p.Declared} {
		for range r.count() {
			*list = append(*list, r.text())
		}
	}
	for range r.count() {
		c := Composite{Number: r.number()}
		for range r.count() {
			key := CompositeKey{Property: r.text()}
			desc := r.byte()
			r.bad = r.bad || desc > 1
			key.Desc = desc == 1
			c.Keys = append(c.Keys, key)
		}
		p.Composites = append(p.Composites, c)
	}
	return p
}
