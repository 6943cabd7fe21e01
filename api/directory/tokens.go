package directory

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"

	"github.com/trellisdb/trellis/api/auth"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// eternal is what a token without expiry says it lasts: 20 years, in seconds.
const eternal = 630_720_000

// Grant is a fresh access token.
type Grant struct {
	Token     string
	ExpiresIn int64 // whole seconds
}

// Life returns how long a token may last, in ms, 0 for ever, from the ttl a
// request asks for: IllegalArgument if that is no number (A23) or more than the
// maximum (A24). app is nil for tokens that are not an app user's.
func (d *Directory) Life(ttl string, app *Application) (int64, error) {
	most := d.cfg.MaxTokenMillis
	if app != nil && app.HasTTL && app.TokenTTL >= 0 {
		most = min(app.TokenTTL, eternal*1000)
	}
	ttl = strings.TrimSpace(ttl)
	if ttl == "" {
		return most, nil
	}
	asked, err := strconv.ParseInt(ttl, 10, 64)
	if err != nil || asked < 0 {
		return 0, fault.New(fault.IllegalArgument, "ttl must be a number >= 0")
	}
	switch {
	case asked == 0:
		return most, nil
	case most > 0 && asked > most:
		return 0, fault.New(fault.IllegalArgument, "Your token age cannot be more than the maximum age of %d milliseconds", most)
	case asked > eternal*1000:
		return 0, fault.New(fault.IllegalArgument, "Your token age cannot be more than the maximum age of %d milliseconds", int64(eternal*1000))
	}
	return asked, nil
}

// Issue makes a token of an admin user or a client and stores its record. life
// is in ms, 0 for ever.
func (d *Directory) Issue(ctx context.Context, kind entity.PrincipalKind, principal entity.ID, life int64) (Grant, error) {
	return d.issue(ctx, entity.Management, entity.Token{Kind: kind, Principal: principal}, life)
}

// IssueUser is Issue for a user of app. The token is his alone: it ends with
// him, and who is created under his UUID later does not get it.
func (d *Directory) IssueUser(ctx context.Context, app entity.AppID, user *User, life int64) (Grant, error) {
	return d.issue(ctx, app, entity.Token{Kind: entity.PrincipalAppUser, Principal: user.Entity.ID, Seq: user.Entity.Seq}, life)
}

// issue completes a token's record and stores it.
func (d *Directory) issue(ctx context.Context, app entity.AppID, record entity.Token, life int64) (Grant, error) {
	var entropy [auth.TokenEntropy]byte
	if _, err := rand.Read(entropy[:]); err != nil {
		return Grant{}, fmt.Errorf("directory: issue a token: %w", err)
	}
	created := d.millis()
	expires, seconds := int64(0), int64(eternal)
	if life > 0 {
		expires, seconds = created+life, life/1000
	}
	token, text := auth.NewToken(d.tokenKey, app, created, expires, entropy)
	record.Created, record.Expires = created, expires
	if _, err := d.do(ctx, app, command.PutToken{Hash: token.Hash, Token: record}); err != nil {
		return Grant{}, err
	}
	return Grant{Token: text, ExpiresIn: seconds}, nil
}

// Remaining returns how many whole seconds the token of a principal still
// lasts.
func (d *Directory) Remaining(p *auth.Principal) int64 {
	if p.Expires == 0 {
		return eternal
	}
	return max(0, (p.Expires-d.millis())/1000)
}

// Owner returns whom a token speaks for, and false for one that is unknown,
// expired or malformed: possession of it proves something (spec
// auth-and-tokens section 8).
func (d *Directory) Owner(ctx context.Context, text string) (entity.AppID, entity.Token, bool, error) {
	t, err := auth.ParseToken(d.tokenKey, text, d.millis())
	if err != nil {
		return 0, entity.Token{}, false, nil
	}
	var record entity.Token
	var ok bool
	err = d.with(ctx, t.App, func(v *storage.View) (err error) {
		record, ok, err = storage.ReadToken(v, t.App, t.Hash)
		return err
	})
	if noSuchApplication(err) {
		return 0, entity.Token{}, false, nil
	}
	return t.App, record, ok, wrapRead("read a token", err)
}

// Revoke removes a token's record. An unknown token is no error.
func (d *Directory) Revoke(ctx context.Context, text string) error {
	t, err := auth.ParseToken(d.tokenKey, text, d.millis())
	if err != nil {
		return nil
	}
	_, err = d.do(ctx, t.App, command.RevokeToken{Hash: t.Hash})
	return err
}

// RevokeAdmin invalidates all tokens an admin user has.
func (d *Directory) RevokeAdmin(ctx context.Context, id entity.ID) error {
	return d.revokeAll(ctx, entity.Management, adminsName, id)
}

// RevokeUser invalidates all tokens an app user has.
func (d *Directory) RevokeUser(ctx context.Context, app entity.AppID, id entity.ID) error {
	return d.revokeAll(ctx, app, "users", id)
}

func (d *Directory) revokeAll(ctx context.Context, app entity.AppID, collection string, id entity.ID) error {
	_, err := d.do(ctx, app, command.SetCredential{
		Collection: collection, Owner: id, Credential: command.Credential{Kind: entity.CredentialPassword}, RevokeTokens: true,
	})
	return err
}

// noSuchApplication reports whether a view was refused because the
// application does not exist: what a token names is only as good as its MAC.
func noSuchApplication(err error) bool {
	return fault.Is(err, fault.NotFound)
}
