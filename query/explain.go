package query

import "github.com/trellisdb/trellis/storage/keys"

// estimateBound is how many keys are counted for the estimate of one range.
const estimateBound = 1000

// explain notes the plan by which the request is answered, if that was asked for.
func (s *search) explain(plan func() *Plan) {
	if s.req.Explain && s.err == nil {
		s.plan = plan()
	}
}

// over returns a step that does something with what other steps yield.
func over(kind string, parts ...*Plan) *Plan {
	p := &Plan{Kind: kind, Parts: parts}
	for i, part := range parts {
		switch {
		case kind == "or":
			p.Estimated += part.Estimated
		case i == 0 || part.Kind != "not" && part.Estimated < p.Estimated:
			p.Estimated = part.Estimated
		}
	}
	return p
}

// filtered returns a step that looks at entities, or from itself if none is needed.
func filtered(from *Plan, needed bool) *Plan {
	if !needed {
		return from
	}
	return over("filter", from)
}

// estimate counts the keys that begin alike, up to a bound.
func (s *search) estimate(prefix []byte) (n int) {
	it, err := s.view.Scan(prefix, keys.Successor(prefix))
	if err != nil {
		return 0
	}
	for ok := it.First(); ok && n < estimateBound; ok = it.Next() {
		n++
	}
	s.fail(it.Close())
	return n
}

// explain implements rows.
func (r *stream) explain() *Plan {
	p := &Plan{Kind: r.kind, Index: r.index, Estimated: r.s.estimate(r.prefix)}
	if r.scan != nil {
		p.Examined = r.scan.keys
	}
	return p
}

// explain implements rows.
func (l *list) explain() *Plan {
	return &Plan{Kind: "collect", Index: l.index, Estimated: l.size, Examined: l.examined}
}

// explain implements rows.
func (a *intersection) explain() *Plan {
	var parts []*Plan
	for _, r := range a.in {
		parts = append(parts, r.explain())
	}
	for _, r := range a.out {
		parts = append(parts, over("not", r.explain()))
	}
	return over("and", parts...)
}

// explain implements rows.
func (u *union) explain() *Plan {
	var parts []*Plan
	for _, r := range u.in {
		parts = append(parts, r.explain())
	}
	return over("or", parts...)
}

// step returns the plan of a walk.
func (w *ordered) step(c *catalog) *Plan {
	p := &Plan{Kind: "walk", Index: w.index, Estimated: int(c.entities())}
	if w.missing != nil && !w.all {
		p.Detail = "then those without a value"
	}
	if w.walk != nil {
		back, used := w.walk.used()
		if p.Examined = used; back {
			p.Index += " descending"
		}
	}
	return p
}

// step returns the plan of a follower.
func (f *follower) step() *Plan {
	plan := f.w.step(f.p.c)
	if f.in != nil {
		plan = over("look up", plan, f.in.rows().explain())
	}
	return filtered(plan, f.filter)
}

// step returns the plan of a scan of all entities.
func (s *search) step(all *scan, filter bool) *Plan {
	p := &Plan{Kind: "scan", Examined: all.keys, Estimated: s.estimate(all.lower)}
	return filtered(p, filter)
}
