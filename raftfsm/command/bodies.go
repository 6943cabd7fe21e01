package command

import (
	"encoding/binary"

	"github.com/trellisdb/trellis/storage/entity"
)

// The bodies of commands, version 1. A list is its length and its elements; an
// optional value is a byte 0, or a byte 1 and the value. docs/format/log.md
// draws them.

func (o TermStart) appendBody(dst []byte) []byte {
	return appendString(binary.AppendUvarint(dst, o.Term), o.Node)
}

func (o CreateEntities) appendBody(dst []byte) []byte {
	dst = appendRules(dst, &o.Rules)
	dst = appendBool(dst, o.Partial)
	dst = binary.AppendUvarint(dst, uint64(len(o.Items)))
	for i := range o.Items {
		dst = appendEntity(dst, &o.Items[i])
	}
	return dst
}

func (d *Decoder) createEntities(r *reader) CreateEntities {
	o := CreateEntities{Rules: d.readRules(r), Partial: r.bool()}
	if n := r.count(minEntity); n > 0 {
		o.Items = make([]NewEntity, n)
		for i := range o.Items {
			o.Items[i] = r.entity()
		}
	}
	return o
}

func (o UpdateEntity) appendBody(dst []byte) []byte {
	dst = appendRules(dst, &o.Rules)
	dst = appendTarget(dst, &o.Target)
	dst = appendBytes(dst, o.Patch)
	return appendOptional(dst, o.Create)
}

func (d *Decoder) updateEntity(r *reader) UpdateEntity {
	return UpdateEntity{Rules: d.readRules(r), Target: r.target(), Patch: r.bytes(), Create: r.optional()}
}

func (o DeleteEntity) appendBody(dst []byte) []byte {
	return appendTarget(appendString(dst, o.Collection), &o.Target)
}

func (o CreateCollections) appendBody(dst []byte) []byte { return appendStrings(dst, o.Names) }

func (o SetCredential) appendBody(dst []byte) []byte {
	dst = appendString(dst, o.Collection)
	dst = append(dst, o.Owner[:]...)
	dst = append(dst, o.Credential.Kind)
	dst = appendBytes(dst, o.Credential.Value)
	dst = appendBool(dst, o.RevokeTokens)
	dst = appendBool(dst, o.Expect != nil)
	if o.Expect != nil {
		dst = appendBytes(dst, o.Expect)
	}
	return dst
}

func (r *reader) setCredential() Op {
	o := SetCredential{
		Collection: r.string(), Owner: r.id(),
		Credential:   Credential{Kind: r.byte(), Value: r.bytes()},
		RevokeTokens: r.bool(),
	}
	if r.bool() {
		if o.Expect = r.bytes(); o.Expect == nil {
			o.Expect = []byte{}
		}
	}
	return o
}

func (o PutToken) appendBody(dst []byte) []byte {
	return entity.AppendToken(append(dst, o.Hash[:]...), &o.Token)
}

func (r *reader) putToken() Op {
	o := PutToken{Hash: r.hash()}
	var err error
	if o.Token, err = entity.DecodeToken(r.b); err != nil {
		r.fail()
	}
	r.b = nil
	return o
}

func (o RevokeToken) appendBody(dst []byte) []byte { return append(dst, o.Hash[:]...) }

func (o InitCluster) appendBody(dst []byte) []byte { return entity.AppendCluster(dst, &o.Cluster) }

func (r *reader) initCluster() Op {
	c, err := entity.DecodeCluster(r.b)
	if err != nil {
		r.fail()
	}
	r.b = nil
	return InitCluster{Cluster: c}
}

func (o CreateOrganization) appendBody(dst []byte) []byte {
	dst = appendEntity(dst, &o.Organization)
	dst = appendString(dst, o.Name)
	dst = appendOptional(dst, o.Owner)
	dst = append(dst, o.OwnerID[:]...)
	dst = appendBool(dst, o.Application != nil)
	if o.Application != nil {
		dst = appendApplication(dst, o.Application)
	}
	return dst
}

func (r *reader) createOrganization() Op {
	o := CreateOrganization{Organization: r.entity(), Name: r.string(), Owner: r.optional(), OwnerID: r.id()}
	if r.bool() {
		a := r.application()
		o.Application = &a
	}
	return o
}

func (o CreateApplication) appendBody(dst []byte) []byte {
	return appendApplication(append(dst, o.Organization[:]...), &o.Application)
}

func (o DeleteApplication) appendBody(dst []byte) []byte {
	return binary.AppendVarint(append(append(dst, o.Organization[:]...), o.Application[:]...), o.PurgeAt)
}

func (o PutMember) appendBody(dst []byte) []byte {
	return appendString(appendBytes(dst, entity.AppendMember(nil, &o.Member)), string(o.Replaces))
}

func (r *reader) putMember() Op {
	m, err := entity.DecodeMember(r.bytes())
	if err != nil {
		r.fail()
	}
	return PutMember{Member: m, Replaces: entity.NodeID(r.string())}
}

func (o SetMemberState) appendBody(dst []byte) []byte {
	return append(appendString(dst, string(o.ID)), byte(o.State))
}

func (o SetPlacements) appendBody(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(o.Placements)))
	for i := range o.Placements {
		dst = appendBytes(dst, entity.AppendPlacement(nil, &o.Placements[i]))
	}
	return dst
}

func (r *reader) setPlacements() Op {
	var o SetPlacements
	if n := r.count(1); n > 0 {
		o.Placements = make([]entity.Placement, n)
		for i := range o.Placements {
			var err error
			if o.Placements[i], err = entity.DecodePlacement(r.bytes()); err != nil {
				r.fail()
			}
		}
	}
	return o
}

func (o SetProtocol) appendBody(dst []byte) []byte {
	return binary.AppendUvarint(dst, uint64(o.Version))
}

func appendApplication(dst []byte, a *NewApplication) []byte {
	dst = append(dst, a.ID[:]...)
	dst = appendString(dst, a.Name)
	dst = binary.AppendUvarint(dst, uint64(a.Partition))
	dst = appendString(dst, a.Secret)
	return appendBool(dst, a.Open)
}

func (r *reader) application() NewApplication {
	return NewApplication{
		ID: r.id(), Name: r.string(), Partition: entity.Partition(r.number()), Secret: r.string(), Open: r.bool(),
	}
}

// minEntity is the size of the smallest new entity, minCredential that of the
// smallest credential, minAlias that of the smallest alias.
const (
	minEntity     = 16 + 1 + 1 + 1 + 1
	minCredential = 1 + 1
	minAlias      = 1 + 1
)

func appendEntity(dst []byte, e *NewEntity) []byte {
	dst = append(dst, e.ID[:]...)
	dst = binary.AppendVarint(dst, e.Created)
	dst = binary.AppendVarint(dst, e.Modified)
	dst = appendBytes(dst, e.JSON)
	dst = binary.AppendUvarint(dst, uint64(len(e.Credentials)))
	for i := range e.Credentials {
		dst = append(dst, e.Credentials[i].Kind)
		dst = appendBytes(dst, e.Credentials[i].Value)
	}
	return dst
}

func (r *reader) entity() NewEntity {
	e := NewEntity{ID: r.id(), Created: r.varint(), Modified: r.varint(), JSON: r.bytes()}
	if n := r.count(minCredential); n > 0 {
		e.Credentials = make([]Credential, n)
		for i := range e.Credentials {
			e.Credentials[i] = Credential{Kind: r.byte(), Value: r.bytes()}
		}
	}
	return e
}

func appendOptional(dst []byte, e *NewEntity) []byte {
	if e == nil {
		return append(dst, 0)
	}
	return appendEntity(append(dst, 1), e)
}

func (r *reader) optional() *NewEntity {
	if !r.bool() {
		return nil
	}
	e := r.entity()
	return &e
}

func appendTarget(dst []byte, t *Target) []byte {
	dst = append(dst, t.ID[:]...)
	dst = binary.AppendUvarint(dst, uint64(len(t.Aliases)))
	for _, a := range t.Aliases {
		dst = appendString(appendString(dst, a.Property), a.Value)
	}
	return dst
}

func (r *reader) target() Target {
	t := Target{ID: r.id()}
	if n := r.count(minAlias); n > 0 {
		t.Aliases = make([]Alias, n)
		for i := range t.Aliases {
			t.Aliases[i] = Alias{Property: r.string(), Value: r.string()}
		}
	}
	return t
}

// appendRules writes the rules as one byte string, by which a decoder knows
// them again.
func appendRules(dst []byte, rules *Rules) []byte {
	n := stringSize(rules.Collection) + stringSize(rules.Type) + stringsSize(rules.Unique) + stringsSize(rules.Required)
	dst = binary.AppendUvarint(dst, uint64(n))
	dst = appendString(dst, rules.Collection)
	dst = appendString(dst, rules.Type)
	dst = appendStrings(dst, rules.Unique)
	return appendStrings(dst, rules.Required)
}

func stringSize(s string) int { return uvarintSize(len(s)) + len(s) }

func stringsSize(list []string) int {
	n := uvarintSize(len(list))
	for _, s := range list {
		n += stringSize(s)
	}
	return n
}

func uvarintSize(n int) int {
	size := 1
	for ; n >= 0x80; n >>= 7 {
		size++
	}
	return size
}

func (d *Decoder) readRules(r *reader) Rules {
	raw := r.bytes()
	if rules, ok := d.rules[string(raw)]; ok {
		return rules
	}
	in := reader{b: raw}
	rules := Rules{Collection: in.string(), Type: in.string(), Unique: in.strings(), Required: in.strings()}
	if !in.done() {
		r.fail()
		return Rules{}
	}
	if len(raw) > maxRulesSize {
		return rules
	}
	if d.rules == nil || len(d.rules) >= maxRules {
		d.rules = make(map[string]Rules)
	}
	d.rules[string(raw)] = rules
	return rules
}
