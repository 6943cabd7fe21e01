package query

// explain notes the plan by which the request is answered.
func (s *search) explain(plan *Plan) { s.plan = plan }

// explain notes a plan in the default order.
func (p *planner) explain(from *Plan, exact bool) {
	if !exact {
		from = &Plan{Kind: "filter", Parts: []*Plan{from}}
	}
	p.s.explain(from)
}

// sorted notes a plan that fetches all it finds, filters it, and keeps the first.
func (p *planner) sorted(from *Plan) {
	p.s.explain(&Plan{Kind: "sort", Parts: []*Plan{{Kind: "filter", Parts: []*Plan{from}}}})
}

// followed notes a plan that follows a walk.
func (p *planner) followed(f *follower) {
	plan := &Plan{Kind: "walk", Index: f.w.index}
	if f.w.walk != nil {
		plan = f.w.walk.explain()
	}
	if f.in != nil {
		plan = &Plan{Kind: "look up", Parts: []*Plan{plan, f.in.rows().explain()}}
	}
	if f.filter {
		plan = &Plan{Kind: "filter", Parts: []*Plan{plan}}
	}
	p.s.explain(plan)
}
