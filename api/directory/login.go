package directory

import (
	"bytes"
	"context"

	"github.com/trellisdb/trellis/api/auth"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// invalidGrant is the one answer to an unknown user and a wrong password (A17).
func invalidGrant() error {
	return fault.New(fault.InvalidGrant, "invalid username or password")
}

// stored is what signing in compares a password with.
type stored struct {
	entity     entity.Entity
	found      bool
	credential entity.Credential
}

func (d *Directory) person(ctx context.Context, app entity.AppID, collection, who string) (stored, error) {
	var s stored
	err := d.with(ctx, app, func(v *storage.View) (err error) {
		s.entity, s.found, err = findPerson(v, app, collection, who)
		if err != nil || !s.found {
			return err
		}
		s.entity.JSON = bytes.Clone(s.entity.JSON)
		s.credential, err = secretOf(v, app, s.entity.ID, entity.CredentialPassword)
		return err
	})
	return s, err
}

// verify compares a password with what is stored, in the same time whether the
// user exists or not, unless the account or the address has to wait.
func (d *Directory) verify(ctx context.Context, app entity.AppID, s stored, who, password string) (bool, error) {
	return d.attempt(ctx, app, s, who, func() (bool, error) { return d.passwords.matches(ctx, s.credential.Value, password) })
}

// attempt runs a comparison with a secret of an account, unless the account or the
// address has to wait after others.
func (d *Directory) attempt(ctx context.Context, app entity.AppID, s stored, who string, compare func() (bool, error)) (bool, error) {
	a := accountOf(app, who)
	if s.found {
		a = accountOf(app, s.entity.ID.String()) // one account, by whichever name
	}
	at, err := d.throttle.begin(a, auth.AddressOf(ctx), d.now())
	if err != nil {
		return false, err
	}
	o := undecided
	defer func() { d.throttle.end(&at, o, d.now()) }()
	ok, err := compare()
	if err != nil {
		return false, err
	}
	if o = wrong; ok {
		o = right
	}
	return ok, nil
}

// LoginAdmin returns the admin user whose name (username, e-mail or UUID) and
// password these are. InvalidGrant otherwise (A17), or if the account is not
// activated or disabled (A18), or not confirmed though that is required (A19, with
// status 403), which the superuser's never is.
func (d *Directory) LoginAdmin(ctx context.Context, who, password string) (*Admin, error) {
	s, err := d.person(ctx, entity.Management, adminsName, who)
	if err != nil {
		return nil, err
	}
	ok, err := d.verify(ctx, entity.Management, s, who, password)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, invalidGrant()
	}
	a, err := adminOf(s.entity)
	if err != nil {
		return nil, err
	}
	a.PasswordChanged = s.credential.Changed
	if !d.alwaysEnters(a.Username) {
		if d.cfg.ConfirmAdmins && !a.Confirmed {
			return nil, &wire.OAuthError{Status: 403, Code: fault.InvalidGrant, Description: "User must be confirmed to authenticate"}
		}
		if err := MayLogin(a.Activated, a.Disabled); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// LoginUser does for an application's users what LoginAdmin does for admin
// users.
func (d *Directory) LoginUser(ctx context.Context, app entity.AppID, who, password string) (*User, error) {
	s, err := d.person(ctx, app, "users", who)
	if err != nil {
		return nil, err
	}
	ok, err := d.verify(ctx, app, s, who, password)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, invalidGrant()
	}
	u, err := userOf(s.entity)
	if err != nil {
		return nil, err
	}
	return u, MayLogin(u.Activated, u.Disabled)
}

// LoginPin does with a user's PIN what LoginUser does with his password.
func (d *Directory) LoginPin(ctx context.Context, app entity.AppID, who, pin string) (*User, error) {
	s, err := d.person(ctx, app, "users", who)
	if err != nil {
		return nil, err
	}
	if !s.found {
		s.entity.ID = entity.ID{} // nobody has no PIN
	}
	ok, err := d.attempt(ctx, app, s, who, func() (bool, error) { return d.pinIs(ctx, app, s.entity.ID, pin) })
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, invalidGrant()
	}
	u, err := userOf(s.entity)
	if err != nil {
		return nil, err
	}
	return u, MayLogin(u.Activated, u.Disabled)
}

// pinIs compares a PIN with a user's.
func (d *Directory) pinIs(ctx context.Context, app entity.AppID, user entity.ID, pin string) (bool, error) {
	var sealed entity.Credential
	err := d.with(ctx, app, func(v *storage.View) (err error) {
		sealed, err = secretOf(v, app, user, entity.CredentialPin)
		return err
	})
	if err != nil || len(sealed.Value) == 0 {
		return false, err
	}
	plain, err := d.Open(user, entity.CredentialPin, sealed.Value)
	return err == nil && pin != "" && auth.Same(string(plain), pin), err
}

// MayLogin refuses accounts that are disabled or not activated (A18).
func MayLogin(activated, disabled bool) error {
	switch {
	case disabled:
		return fault.New(fault.InvalidGrant, "user disabled")
	case !activated:
		return fault.New(fault.InvalidGrant, "user not activated")
	}
	return nil
}

// HashPassword checks the password of an application's user against the policy
// (PasswordPolicy, R15) and returns the credential to store with him.
func (d *Directory) HashPassword(ctx context.Context, password string) (command.Credential, error) {
	return d.hashPassword(ctx, d.cfg.Policy, password)
}

// HashAdminPassword does for admin users what HashPassword does for an application's.
func (d *Directory) HashAdminPassword(ctx context.Context, password string) (command.Credential, error) {
	return d.hashPassword(ctx, d.cfg.AdminPolicy, password)
}

func (d *Directory) hashPassword(ctx context.Context, policy auth.PasswordPolicy, password string) (command.Credential, error) {
	if err := policy.Check(password); err != nil {
		return command.Credential{}, err
	}
	hash, err := d.passwords.hash(ctx, password)
	return command.Credential{Kind: entity.CredentialPassword, Value: hash}, err
}

// SetUserPassword sets the password of an app user. ServiceResourceNotFound if
// there is no such user; WrongPassword (A22) unless old is right, which is not
// asked if force is set. Tokens stay valid.
func (d *Directory) SetUserPassword(ctx context.Context, app entity.AppID, who, old, password string, force bool) error {
	return d.setPassword(ctx, app, "users", who, old, password, force)
}

// SetAdminPassword does for admin users what SetUserPassword does for an
// application's users.
func (d *Directory) SetAdminPassword(ctx context.Context, who, old, password string, force bool) error {
	return d.setPassword(ctx, entity.Management, adminsName, who, old, password, force)
}

func (d *Directory) setPassword(ctx context.Context, app entity.AppID, collection, who, old, password string, force bool) error {
	s, err := d.person(ctx, app, collection, who)
	if err != nil {
		return err
	}
	if !force {
		ok, err := d.verify(ctx, app, s, who, old)
		if err != nil {
			return err
		}
		if !ok {
			// Unknown users too: who asks has proved nothing yet.
			return fault.New(fault.WrongPassword, "Unable to authenticate due to username or password being incorrect")
		}
	}
	if !s.found {
		return fault.New(fault.ServiceResourceNotFound, "Service resource not found")
	}
	return d.change(ctx, &change{app: app, collection: collection, stored: s, password: password, force: force})
}
