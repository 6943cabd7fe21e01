package directory

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strings"
	"unicode/utf8"

	"github.com/trellisdb/trellis/api/auth"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// Credentials are what a request presents, as it presents them. Empty fields
// are absent.
type Credentials struct {
	AccessToken   string // parameter access_token
	Authorization string // the header
	ClientID      string // parameter client_id
	ClientSecret  string // parameter client_secret
}

// Authenticate returns who presents the credentials. The first kind present
// decides, in the order of spec auth-and-tokens section 3; without any it is
// nobody. Wrong credentials are an error even where none are needed: rows A1
// to A8.
func (d *Directory) Authenticate(ctx context.Context, c Credentials) (*auth.Principal, error) {
	if c.AccessToken != "" {
		return d.token(ctx, c.AccessToken)
	}
	if c.Authorization != "" {
		h := parseAuthorization(c.Authorization)
		switch {
		case h.bearer != "":
			return d.token(ctx, h.bearer)
		case h.basic && d.IsSuperuserName(h.name):
			return d.basicSuperuser(ctx, h.name, h.secret)
		case h.basic:
			return d.client(ctx, h.name, h.secret, fault.New(fault.InvalidCredentials, "Unable to authenticate due to corrupt or wrong client credentials"))
		}
	}
	if strings.TrimSpace(c.ClientID) != "" && strings.TrimSpace(c.ClientSecret) != "" {
		return d.client(ctx, c.ClientID, c.ClientSecret, fault.New(fault.InvalidClient, "Unable to authenticate (OAuth)"))
	}
	return nobody, nil
}

var nobody = auth.Nobody()

type authorization struct {
	bearer       string
	basic        bool
	name, secret string
}

// parseAuthorization reads an Authorization header: schemes in any case,
// several of them separated by commas, unknown ones ignored. A Basic value that
// is no base64 of name:secret counts as wrong credentials.
func parseAuthorization(header string) authorization {
	var a authorization
	for part := range strings.SplitSeq(header, ",") {
		scheme, value, _ := strings.Cut(strings.TrimSpace(part), " ")
		value = strings.TrimSpace(value)
		switch {
		case strings.EqualFold(scheme, "bearer") && value != "" && a.bearer == "":
			a.bearer = value
		case strings.EqualFold(scheme, "basic") && value != "" && !a.basic:
			a.basic = true
			raw, err := base64.StdEncoding.DecodeString(value)
			if err != nil {
				raw, err = base64.RawStdEncoding.DecodeString(value)
			}
			if err == nil && utf8.Valid(raw) {
				a.name, a.secret, _ = strings.Cut(string(raw), ":")
			}
		}
	}
	return a
}

// session is a principal that was authenticated, and what that rests on: the
// version of the application that holds the token, and the version of the
// registry in which that application exists.
type session struct {
	app       entity.AppID
	registry  uint64
	principal *auth.Principal
}

// token returns the principal of an access token.
func (d *Directory) token(ctx context.Context, text string) (*auth.Principal, error) {
	now := d.millis()
	hash := sha256.Sum256([]byte(text))
	registry, err := d.version(ctx, entity.Management)
	if err != nil {
		return nil, err
	}
	if s, at, ok := d.tokens.get(hash); ok && s.registry == registry && (s.principal.Expires == 0 || now < s.principal.Expires) {
		version, err := d.version(ctx, s.app)
		if err != nil {
			return nil, err
		}
		if at == version {
			return s.principal, nil
		}
	}
	t, err := auth.ParseToken(d.tokenKey, text, now)
	if err != nil {
		return nil, err
	}
	var p *auth.Principal
	var app entity.ID
	version, err := d.version(ctx, t.App)
	if err == nil {
		app, err = d.applicationNumbered(ctx, t.App)
	}
	if err == nil && t.App != entity.Management {
		// A deleted application keeps its data, and its users speak for nobody.
		if _, err = d.ApplicationByID(ctx, app); fault.Is(err, fault.OrganizationApplicationNotFound) {
			err = principalGone()
		}
	}
	if err == nil {
		err = d.with(ctx, t.App, func(v *storage.View) (err error) {
			p, err = d.principalOf(v, t, app)
			return err
		})
	}
	if noSuchApplication(err) {
		return nil, fault.Wrap(err, fault.AuthInvalid, "Unable to authenticate")
	}
	if err != nil {
		return nil, err
	}
	p.Token, p.Expires = strings.Clone(text), t.Expires
	d.tokens.put(hash, session{t.App, registry, p}, version)
	return p, nil
}

func principalGone() error {
	return fault.New(fault.BadAccessToken, "Unable to authenticate due to corrupt access token")
}

// applicationNumbered returns the UUID of an application: a number is never
// given to another.
func (d *Directory) applicationNumbered(ctx context.Context, number entity.AppID) (entity.ID, error) {
	if number == entity.Management {
		return entity.ManagementID, nil
	}
	if id, _, ok := d.numbers.get(number); ok {
		return id, nil
	}
	var id entity.ID
	err := d.with(ctx, entity.Management, func(v *storage.View) error {
		_, route, ok, err := storage.ReadRoute(v, number)
		if err == nil && !ok {
			err = fault.New(fault.NotFound, "no application has number %d", number)
		}
		id = route
		return err
	})
	if err == nil {
		d.numbers.put(number, id, 0)
	}
	return id, err
}

// principalOf looks up the record of a token and whom it speaks for.
func (d *Directory) principalOf(v *storage.View, t auth.Token, app entity.ID) (*auth.Principal, error) {
	record, ok, err := storage.ReadToken(v, t.App, t.Hash)
	if err != nil {
		return nil, wrapRead("read a token", err)
	}
	if !ok || record.Purpose != entity.TokenAccess { // A3, too
		return nil, fault.New(fault.AuthInvalid, "Unable to authenticate")
	}
	if (record.Kind == entity.PrincipalAppUser) != (t.App != entity.Management) {
		return nil, fault.New(fault.Corrupt, "a token of kind %d lies in application %d", record.Kind, t.App)
	}
	switch record.Kind {
	case entity.PrincipalAppUser:
		return userPrincipal(v, t.App, app, record)
	case entity.PrincipalAdmin:
		return d.adminPrincipal(v, record)
	case entity.PrincipalAppClient:
		return clientPrincipal(v, auth.OwnerApplication, record.Principal)
	case entity.PrincipalOrgClient:
		return clientPrincipal(v, auth.OwnerOrganization, record.Principal)
	}
	return nil, fault.New(fault.Corrupt, "a token is of unknown kind %d", record.Kind)
}

// standing refuses a principal that is deactivated or disabled (A5), or whose
// tokens were revoked after this one was made (A3).
func standing(v *storage.View, app entity.AppID, t entity.Token, activated, disabled bool) error {
	c, err := secretOf(v, app, t.Principal, entity.CredentialPassword)
	switch {
	case err != nil:
		return err
	case t.Created <= c.RevokedBefore:
		return fault.New(fault.AuthInvalid, "Unable to authenticate")
	case disabled:
		return fault.New(fault.Authentication, "Disabled identity")
	case !activated:
		return fault.New(fault.Authentication, "Unactivated identity")
	}
	return nil
}

func userPrincipal(v *storage.View, app entity.AppID, id entity.ID, t entity.Token) (*auth.Principal, error) {
	e, ok, err := find(v, app, "users", t.Principal)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, principalGone()
	}
	if e.Seq != t.Seq { // somebody else, created under the same UUID
		return nil, fault.New(fault.AuthInvalid, "Unable to authenticate")
	}
	u, err := userOf(e)
	if err != nil {
		return nil, err
	}
	if err := standing(v, app, t, u.Activated, u.Disabled); err != nil {
		return nil, err
	}
	return &auth.Principal{Kind: auth.AppUser, ID: e.ID, App: id, Username: u.Username, Email: u.Email, Name: u.Name}, nil
}

func (d *Directory) adminPrincipal(v *storage.View, t entity.Token) (*auth.Principal, error) {
	e, ok, err := find(v, entity.Management, adminsName, t.Principal)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, principalGone()
	}
	a, err := adminOf(e)
	if err != nil {
		return nil, err
	}
	super := d.IsSuperuserName(a.Username)
	always := d.alwaysEnters(a.Username)
	if err := standing(v, entity.Management, t, a.Activated || always, a.Disabled && !always); err != nil {
		return nil, err
	}
	return d.adminAs(v, a, super)
}

func (d *Directory) adminAs(v *storage.View, a *Admin, super bool) (*auth.Principal, error) {
	p := &auth.Principal{Kind: auth.Admin, ID: a.ID, Username: a.Username, Email: a.Email, Name: a.Name}
	if super {
		p.Kind = auth.Superuser
	}
	var err error
	p.Organizations, err = organizationIDs(v, a.ID)
	return p, err
}

// clientPrincipal returns the client of an organisation or application that
// still exists.
func clientPrincipal(v *storage.View, owner auth.Owner, id entity.ID) (*auth.Principal, error) {
	collection := organizationsName
	p := &auth.Principal{Kind: auth.OrgClient, ID: id, Organizations: []entity.ID{id}}
	if owner == auth.OwnerApplication {
		collection = applicationsName
		p = &auth.Principal{Kind: auth.AppClient, ID: id, App: id}
	}
	_, ok, err := find(v, entity.Management, collection, id)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, principalGone()
	}
	return p, nil
}

// remembered is the key under which a name and a secret that were right are
// remembered: it tells neither.
func (d *Directory) remembered(kind byte, name, secret string) [32]byte {
	h := hmac.New(sha256.New, d.seal[:])
	var size [9]byte
	size[0] = kind
	binary.BigEndian.PutUint64(size[1:], uint64(len(name)))
	h.Write(size[:])
	h.Write([]byte(name))
	h.Write([]byte(secret))
	return [32]byte(h.Sum(nil))
}

// Client returns the client that an id and a secret prove, an organisation's or
// an application's: InvalidGrant (A17) if they prove nothing.
func (d *Directory) Client(ctx context.Context, id, secret string) (*auth.Principal, error) {
	return d.client(ctx, id, secret, invalidGrant())
}

func (d *Directory) client(ctx context.Context, id, secret string, wrong error) (*auth.Principal, error) {
	version, err := d.version(ctx, entity.Management)
	if err != nil {
		return nil, err
	}
	key := d.remembered('c', id, secret)
	if p, at, ok := d.clients.get(key); ok && at == version {
		return p, nil
	}
	owner, uuid, ok := auth.ParseClientID(strings.TrimSpace(id))
	if !ok || (owner != auth.OwnerOrganization && owner != auth.OwnerApplication) {
		return nil, wrong
	}
	var p *auth.Principal
	err = d.with(ctx, entity.Management, func(v *storage.View) error {
		stored, err := d.clientSecret(v, uuid)
		if err != nil {
			return err
		}
		if !auth.Same(stored, strings.TrimSpace(secret)) || stored == "" {
			return wrong
		}
		p, err = clientPrincipal(v, owner, uuid)
		if fault.Is(err, fault.BadAccessToken) {
			return wrong
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	d.clients.put(key, p, version)
	return p, nil
}

// basicSuperuser returns the superuser. That a password was right is
// remembered, or every request would cost a bcrypt.
func (d *Directory) basicSuperuser(ctx context.Context, name, password string) (*auth.Principal, error) {
	version, err := d.version(ctx, entity.Management)
	if err != nil {
		return nil, err
	}
	key := d.remembered('s', name, password)
	if p, at, ok := d.clients.get(key); ok && at == version {
		return p, nil
	}
	a, err := d.LoginAdmin(ctx, name, password)
	if fault.Is(err, fault.InvalidGrant) {
		return nil, wire.Challenge(fault.New(fault.Unauthorized, "No system access authorized"))
	}
	if err != nil {
		return nil, err
	}
	var p *auth.Principal
	err = d.with(ctx, entity.Management, func(v *storage.View) (err error) {
		p, err = d.adminAs(v, a, true)
		return err
	})
	if err != nil {
		return nil, err
	}
	d.clients.put(key, p, version)
	return p, nil
}
