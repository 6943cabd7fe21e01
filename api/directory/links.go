package directory

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/trellisdb/trellis/api/auth"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
)

// LinkLife is how long the token in the link of a mail is good.
const LinkLife = 7 * 24 * time.Hour

// NewLink makes a token for the link of a mail, and the command that stores its record.
// The caller has set of the record whom it is for and what it is good for; created is
// in ms since the epoch.
func (d *Directory) NewLink(app entity.AppID, record entity.Token, created int64) (string, command.PutToken, error) {
	var entropy [auth.TokenEntropy]byte
	if _, err := rand.Read(entropy[:]); err != nil {
		return "", command.PutToken{}, fmt.Errorf("directory: make a token for a link: %w", err)
	}
	token, text := auth.NewMailToken(d.tokenKey, app, created, entropy)
	record.Created, record.Expires = created, created+LinkLife.Milliseconds()
	return text, command.PutToken{Hash: token.Hash, Token: record}, nil
}

// Proof is what the token in a link proves.
type Proof struct {
	App   entity.AppID
	Hash  [32]byte
	Token entity.Token
}

// Is reports whether the token is good for one purpose of one principal.
func (p *Proof) Is(app entity.AppID, kind entity.PrincipalKind, principal entity.ID, purpose entity.TokenPurpose) bool {
	return p.App == app && p.Token.Kind == kind && p.Token.Principal == principal && p.Token.Purpose == purpose
}

// Prove returns what the token of a link proves, and false for one that is unknown,
// expired, used or revoked with all others of its owner, or none.
func (d *Directory) Prove(ctx context.Context, text string) (Proof, bool, error) {
	t, err := auth.ParseMailToken(d.tokenKey, text)
	if err != nil {
		return Proof{}, false, nil
	}
	p := Proof{App: t.App, Hash: t.Hash}
	var ok bool
	err = d.with(ctx, t.App, func(v *storage.View) (err error) {
		if p.Token, ok, err = storage.ReadToken(v, t.App, t.Hash); err != nil || !ok || p.Token.Kind == entity.PrincipalOrgClient {
			return err
		}
		c, err := secretOf(v, t.App, p.Token.Principal, entity.CredentialPassword)
		ok = p.Token.Created > c.RevokedBefore
		return err
	})
	if noSuchApplication(err) {
		return Proof{}, false, nil
	}
	ok = ok && p.Token.Purpose != entity.TokenAccess && d.millis() < p.Token.Expires
	return p, ok, wrapRead("read the token of a link", err)
}

// TokenOf returns whom an access token speaks for: the faults A1 to A5 if for nobody.
func (d *Directory) TokenOf(ctx context.Context, text string) (*auth.Principal, error) {
	return d.token(ctx, text)
}
