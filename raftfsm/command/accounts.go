package command

import (
	"encoding/binary"

	"github.com/trellisdb/trellis/storage/entity"
)

// Bounds of permissions.
const (
	MaxPermission  = 1024 // bytes of one
	MaxPermissions = 1000 // of one owner
	maxThen        = 64   // commands that go with one
)

// Together runs First and, unless it is refused, Then, in one step: nobody sees the
// one without the others. What becomes of it is what becomes of First; one of Then
// that is refused is left out. First is none of Together and the commands of tasks,
// Then are of the kinds MayFollow allows: an entry with others does not decode.
type Together struct {
	First Op
	Then  []Op
}

// SetPermissions adds permissions to an entity of users, groups or roles and removes
// others; what it has, or has not, already is no error. Faults:
// ServiceResourceNotFound if there is no such entity; IllegalArgument for an empty or
// overlong one, more than MaxPermissions of the owner, or another collection.
type SetPermissions struct {
	Collection  string
	Owner       entity.ID
	Add, Remove []string // as they are stored and compared
}

// SeedRoles gives an application the roles that every one begins with. It changes
// nothing if the application has a collection of roles already. If Reset, those of
// the roles that are missing are created all the same, and all get their
// permissions, without losing others. Outcome.Entities holds the roles it created.
type SeedRoles struct {
	Rules Rules // of roles
	Roles []NewRole
	Reset bool
}

// NewRole is a role and the permissions it begins with.
type NewRole struct {
	Entity      NewEntity // JSON has "name"
	Permissions []string
}

// SetMembership makes an admin user a member of an organisation, or ends that.
// Outcome.Entities holds the admin user, Outcome.Created is whether anything
// changed. Faults: ServiceResourceNotFound (no such admin user or organisation),
// UnableToLeave (the last member).
type SetMembership struct {
	Organization entity.ID
	Admin        entity.ID
	Member       bool
}

// RestoreApplication moves the record of a deleted application back to the live ones
// and gives it a new secret; the task that would have purged it goes.
// Outcome.Entities holds the record. Faults: EntityNotFound (no such deleted
// application of the organisation), Conflict (another has the name).
type RestoreApplication struct {
	Organization entity.ID
	Application  entity.ID
	Secret       Credential
}

// TouchToken notes the use of a token: neither its last use nor the longest time
// between two ever goes down. An unknown token is no error.
type TouchToken struct {
	Hash     [32]byte
	Accessed int64 // ms since the epoch
	Inactive int64 // ms
}

func (Together) kind() Kind           { return KindTogether }
func (SetPermissions) kind() Kind     { return KindSetPermissions }
func (SeedRoles) kind() Kind          { return KindSeedRoles }
func (SetMembership) kind() Kind      { return KindSetMembership }
func (RestoreApplication) kind() Kind { return KindRestoreApplication }
func (TouchToken) kind() Kind         { return KindTouchToken }

// MayLead reports whether a command of a kind can be the first of Together.
func (k Kind) MayLead() bool { return k.MayBeEffect() && k != KindTogether }

// MayFollow reports whether a command of a kind can follow another in Together.
func (k Kind) MayFollow() bool {
	switch k {
	case KindCreateEntities, KindUpdateEntity, KindDeleteEntities, KindSetCredential, KindSetPermissions,
		KindPutToken, KindRevokeToken, KindPutTask, KindCancelTask, KindScheduleTask, KindConnect, KindDisconnect, KindSetMembership,
		KindPutSettings, KindPutJob:
		return true
	}
	return false
}

func (o Together) appendBody(dst []byte) []byte {
	dst = appendOp(dst, o.First)
	dst = binary.AppendUvarint(dst, uint64(len(o.Then)))
	for _, op := range o.Then {
		dst = appendOp(dst, op)
	}
	return dst
}

// appendOp appends an operation within another: kind 1 · body, as a byte string.
func appendOp(dst []byte, op Op) []byte {
	return appendBytes(append(dst, byte(op.kind())), op.appendBody(nil))
}

// readOp reads an operation within another, if its kind is allowed there.
func (d *Decoder) readOp(r *reader, allowed func(Kind) bool) Op {
	kind := Kind(r.byte())
	body := reader{b: r.bytes()}
	if r.failed || !allowed(kind) {
		r.fail()
		return nil
	}
	op := d.op(kind, &body)
	if op == nil || !body.done() {
		r.fail()
		return nil
	}
	return op
}

// minOp is the size of the smallest operation within another.
const minOp = 1 + 1

func (d *Decoder) together(r *reader) Op {
	o := Together{First: d.readOp(r, Kind.MayLead)}
	n := r.count(minOp)
	if n > maxThen {
		r.fail()
		return o
	}
	for range n {
		op := d.readOp(r, Kind.MayFollow)
		if op == nil {
			return o
		}
		o.Then = append(o.Then, op)
	}
	return o
}

func (o SetPermissions) appendBody(dst []byte) []byte {
	dst = append(appendString(dst, o.Collection), o.Owner[:]...)
	return appendStrings(appendStrings(dst, o.Add), o.Remove)
}

func (r *reader) setPermissions() Op {
	return SetPermissions{Collection: r.string(), Owner: r.id(), Add: r.strings(), Remove: r.strings()}
}

func (o SeedRoles) appendBody(dst []byte) []byte {
	dst = appendBool(appendRules(dst, &o.Rules), o.Reset)
	dst = binary.AppendUvarint(dst, uint64(len(o.Roles)))
	for i := range o.Roles {
		dst = appendStrings(appendEntity(dst, &o.Roles[i].Entity), o.Roles[i].Permissions)
	}
	return dst
}

func (d *Decoder) seedRoles(r *reader) Op {
	o := SeedRoles{Rules: d.readRules(r), Reset: r.bool()}
	if n := r.count(minEntity + 1); n > 0 {
		o.Roles = make([]NewRole, n)
		for i := range o.Roles {
			o.Roles[i] = NewRole{Entity: r.entity(), Permissions: r.strings()}
		}
	}
	return o
}

func (o SetMembership) appendBody(dst []byte) []byte {
	return appendBool(append(append(dst, o.Organization[:]...), o.Admin[:]...), o.Member)
}

func (o RestoreApplication) appendBody(dst []byte) []byte {
	dst = append(append(dst, o.Organization[:]...), o.Application[:]...)
	return appendBytes(append(dst, o.Secret.Kind), o.Secret.Value)
}

func (r *reader) restoreApplication() Op {
	return RestoreApplication{Organization: r.id(), Application: r.id(), Secret: Credential{Kind: r.byte(), Value: r.bytes()}}
}

func (o TouchToken) appendBody(dst []byte) []byte {
	return binary.AppendVarint(binary.AppendVarint(append(dst, o.Hash[:]...), o.Accessed), o.Inactive)
}

func (r *reader) touchToken() Op {
	return TouchToken{Hash: r.hash(), Accessed: r.varint(), Inactive: r.varint()}
}
