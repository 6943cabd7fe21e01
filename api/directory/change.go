package directory

import (
	"context"
	"encoding/binary"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// MaxHistory is how many former passwords are remembered at most: each of them costs a
// comparison at every change.
const MaxHistory = 24

// change is a password that is to take the place of another.
type change struct {
	app        entity.AppID
	collection string
	stored     stored
	password   string
	force      bool         // it takes the place of any other
	then       []command.Op // that go with it
}

// change stores a password unless the policy or the history are against it. What it was
// compared with is replaced, or Conflict: the password was changed meanwhile.
func (d *Directory) change(ctx context.Context, ch *change) error {
	former, remembers, err := d.history(ctx, ch)
	if err != nil {
		return err
	}
	hash, policy := d.HashPassword, d.cfg.Policy
	if ch.collection == adminsName {
		hash, policy = d.HashAdminPassword, d.cfg.AdminPolicy
	}
	if err := policy.Check(ch.password); err != nil {
		return err // before any comparison, which costs
	}
	if remembers > 0 {
		for _, old := range former {
			if same, err := d.passwords.matches(ctx, old, ch.password); err != nil {
				return err
			} else if same {
				return fault.New(fault.PasswordReused, "the password was used before")
			}
		}
	}
	c, err := hash(ctx, ch.password)
	if err != nil {
		return err
	}
	expect := ch.stored.credential.Value
	switch {
	case ch.force && remembers == 0:
		expect = nil
	case expect == nil:
		expect = []byte{}
	}
	var op command.Op = command.SetCredential{Collection: ch.collection, Owner: ch.stored.entity.ID, Credential: c, Expect: expect}
	then := ch.then
	if kept := former[:min(len(former), remembers)]; len(kept) > 0 {
		then = append(then[:len(then):len(then)], command.SetCredential{
			Collection: ch.collection, Owner: ch.stored.entity.ID,
			Credential: command.Credential{Kind: entity.CredentialHistory, Value: appendHistory(nil, kept)},
		})
	}
	if len(then) > 0 {
		op = command.Together{First: op, Then: then}
	}
	_, err = d.do(ctx, ch.app, op)
	return err
}

// history returns the hashes a new password must not be of, the present one first, and
// how many are to be remembered. Application users have none.
func (d *Directory) history(ctx context.Context, ch *change) (former [][]byte, remembers int, err error) {
	if ch.collection != adminsName {
		return nil, 0, nil
	}
	id := ch.stored.entity.ID
	err = d.with(ctx, entity.Management, func(v *storage.View) error {
		orgs, err := organizationIDs(v, id)
		if err != nil {
			return err
		}
		for _, org := range orgs {
			e, ok, err := find(v, entity.Management, organizationsName, org)
			if err != nil {
				return err
			}
			if !ok {
				continue
			}
			o, err := organizationOf(e)
			if err != nil {
				return err
			}
			remembers = max(remembers, int(min(o.HistorySize(), MaxHistory)))
		}
		if remembers == 0 {
			return nil
		}
		stored, err := secretOf(v, entity.Management, id, entity.CredentialHistory)
		former = decodeHistory(stored.Value)
		return err
	})
	if remembers > 0 && len(ch.stored.credential.Value) > 0 {
		former = append([][]byte{ch.stored.credential.Value}, former...)
		// The present one, and as many before it as are remembered.
		former = former[:min(len(former), remembers+1)]
	}
	return former, remembers, err
}

// appendHistory appends hashes, each with its length as uvarint before it.
func appendHistory(dst []byte, hashes [][]byte) []byte {
	for _, h := range hashes {
		dst = append(binary.AppendUvarint(dst, uint64(len(h))), h...)
	}
	return dst
}

// decodeHistory reads what appendHistory wrote, as far as it can be read.
func decodeHistory(b []byte) (hashes [][]byte) {
	for len(b) > 0 && len(hashes) < MaxHistory {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > uint64(len(b)-size) {
			return hashes
		}
		hashes, b = append(hashes, b[size:size+int(n)]), b[size+int(n):]
	}
	return hashes
}

// ResetAdminPassword sets the password of the admin user for whom a token of a mail was
// made, which ends with it; so do all such tokens made before. False: the token is none
// of his, or was used. Faults: PasswordPolicy, PasswordReused.
func (d *Directory) ResetAdminPassword(ctx context.Context, admin entity.ID, token, password string) (bool, error) {
	return d.reset(ctx, entity.Management, adminsName, entity.PrincipalAdmin, admin, token, password)
}

// ResetUserPassword does for an application's users what ResetAdminPassword does for
// admin users.
func (d *Directory) ResetUserPassword(ctx context.Context, app entity.AppID, user entity.ID, token, password string) (bool, error) {
	return d.reset(ctx, app, "users", entity.PrincipalAppUser, user, token, password)
}

func (d *Directory) reset(ctx context.Context, app entity.AppID, collection string, kind entity.PrincipalKind, id entity.ID, token, password string) (bool, error) {
	proof, s, ok, err := d.resettable(ctx, app, collection, kind, id, token)
	if err != nil || !ok {
		return false, err
	}
	err = d.change(ctx, &change{
		app: app, collection: collection, stored: s, password: password, then: []command.Op{command.RevokeToken{Hash: proof.Hash}},
	})
	if fault.Is(err, fault.Conflict) { // another use of it was faster
		return false, nil
	}
	return err == nil, err
}

// MayReset reports whether a token of a mail is good for setting the password of an
// admin user, or of a user of an application.
func (d *Directory) MayReset(ctx context.Context, app entity.AppID, id entity.ID, token string) (bool, error) {
	collection, kind := "users", entity.PrincipalAppUser
	if app == entity.Management {
		collection, kind = adminsName, entity.PrincipalAdmin
	}
	_, _, ok, err := d.resettable(ctx, app, collection, kind, id, token)
	return ok, err
}

// resettable returns what a token proves and whose password it may set. It is good
// for one change: none that was made before the password changed is.
func (d *Directory) resettable(ctx context.Context, app entity.AppID, collection string, kind entity.PrincipalKind, id entity.ID, token string) (Proof, stored, bool, error) {
	proof, ok, err := d.Prove(ctx, token)
	if err != nil || !ok || !proof.Is(app, kind, id, entity.TokenResetPassword) {
		return proof, stored{}, false, err
	}
	s, err := d.person(ctx, app, collection, id.String())
	if err != nil || !s.found || (kind == entity.PrincipalAppUser && s.entity.Seq != proof.Token.Seq) {
		return proof, s, false, err
	}
	return proof, s, proof.Token.Created >= s.credential.Changed, nil
}
