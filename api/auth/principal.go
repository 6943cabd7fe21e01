package auth

import (
	"slices"
	"strings"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// Kind says what a principal is.
type Kind byte

// Kinds of principal, in the order of spec auth-and-tokens section 1.
const (
	Anonymous Kind = iota
	AppUser
	AppClient
	Admin
	OrgClient
	Superuser
)

// String returns the name of the kind, for logs and tests.
func (k Kind) String() string {
	switch k {
	case AppUser:
		return "app user"
	case AppClient:
		return "application client"
	case Admin:
		return "admin user"
	case OrgClient:
		return "organization client"
	case Superuser:
		return "superuser"
	}
	return "anonymous"
}

// Principal is who makes a request. It is immutable once made: the directory
// shares one between requests.
type Principal struct {
	Kind Kind

	// ID is the user, admin user, application or organisation; zero for the
	// anonymous.
	ID entity.ID

	// App is the application an app user or an application client belongs to.
	App entity.ID

	// Organizations are those an admin user is a member of, or the one an
	// organisation client speaks for.
	Organizations []entity.ID

	// Username, Email and Name are those of an app user or admin user.
	Username, Email, Name string

	// Token is the text of the access token that was presented, and Expires its
	// expiry in ms since the epoch, 0 for never. Without a token Token is empty.
	Token   string
	Expires int64
}

// Nobody is the principal of a request without credentials.
func Nobody() *Principal { return &Principal{} }

// IsAdmin reports whether p is an admin user, the superuser included.
func (p *Principal) IsAdmin() bool { return p.Kind == Admin || p.Kind == Superuser }

// Manages reports whether p may do everything in an organisation: its members,
// its client and the superuser may.
func (p *Principal) Manages(organization entity.ID) bool {
	switch p.Kind {
	case Superuser:
		return true
	case Admin, OrgClient:
		return slices.Contains(p.Organizations, organization)
	}
	return false
}

// Application is what access to an application depends on.
type Application struct {
	ID           entity.ID
	Organization entity.ID
	Open         bool // its guests may do everything from its first day: the sandbox
}

// Access is what a principal may do in one application.
type Access struct {
	everything bool
	grants     []*Set
	caller     Caller
	refused    string // what a refusal says; empty: the usual
}

// In returns what p may do in an application whatever its roles say: everything, or
// nothing yet. A client or an admin user of somewhere else is refused with
// Unauthorized (A13), an app user of another application holds nothing. The management
// application is closed to all but the superuser, and not offered to him either.
//
// What a guest or an app user of the application may do lies in its roles: see
// Permissions.
func (p *Principal) In(app Application) (Access, error) {
	if app.ID == entity.ManagementID {
		if p.Kind == Superuser {
			return Access{}, fault.New(fault.NotImplemented, "the management application is reached through /management")
		}
		return Access{}, fault.New(fault.Unauthorized, "No application access authorized")
	}
	switch p.Kind {
	case Anonymous, AppUser:
		return Access{}, nil
	case AppClient:
		if p.App == app.ID {
			return Access{everything: true}, nil
		}
	case Admin, OrgClient, Superuser:
		if p.Manages(app.Organization) {
			return Access{everything: true}, nil
		}
	}
	return Access{}, fault.New(fault.Unauthorized, "No application access authorized")
}

// Permissions is what a guest may do, or an app user: sets are those of his own, his
// roles and his groups. A user may always read himself.
func (p *Principal) Permissions(sets []*Set) Access {
	a := Access{grants: sets}
	if p.Kind == AppUser {
		a.caller = Caller{Username: p.Username, ID: p.ID}
		a.grants = slices.Concat(sets, []*Set{builtin})
	}
	return a
}

// NoGuests is the access of the anonymous where the role of guests was deleted (A14).
func NoGuests() Access { return Access{refused: "No application guest access authorized"} }

// Everything reports whether no permission needs to be looked at: clients,
// members and the superuser.
func (a *Access) Everything() bool { return a.everything }

// May reports whether an operation on a path is granted. The path is given
// without its application, in segments already decoded, in all its equivalent
// spellings; one that matches is enough. What is written there is not looked up, so
// a caller whose name could be the e-mail address of somebody else goes by his UUID:
// see MayAt.
func (a *Access) May(op Op, spellings ...[]string) bool {
	if a.everything {
		return true
	}
	if op == 0 {
		return false
	}
	caller := a.caller
	if strings.Contains(caller.Username, "@") {
		caller.Username = ""
	}
	for _, path := range spellings {
		p := spell(path)
		for _, set := range a.grants {
			if set.grants(op, &p, caller) {
				return true
			}
		}
	}
	return false
}

// Check is May as an error: Unauthorized (A9), always with status 401.
func (a *Access) Check(op Op, spellings ...[]string) error {
	if a.May(op, spellings...) {
		return nil
	}
	return a.Refusal()
}

// Refusal is what a caller is told who may not do what he asks: Unauthorized (A9, A14).
func (a *Access) Refusal() error {
	if a.refused != "" {
		return fault.New(fault.Unauthorized, "%s", a.refused)
	}
	return fault.New(fault.Unauthorized, "Subject does not have permission to access this resource")
}

// Permission strings of a new application (spec auth-and-tokens section 9.5,
// 9.6), exactly as clients compare them.
const (
	GuestUsers     = "post:/users"
	GuestDevices   = "post:/devices"
	GuestDevice    = "put:/devices/*"
	OpenEverything = "get,post,put,delete:/**"
	UserEverything = "get,put,post,delete:/**"
)

// Role is a role that an application begins with.
type Role struct {
	Name, Title string
	Permissions []string
}

// DefaultRoles returns the roles of a new application. In an open one guests may do
// everything.
func DefaultRoles(open bool) []Role {
	guest := []string{GuestUsers, GuestDevices, GuestDevice}
	if open {
		guest = append(guest, OpenEverything)
	}
	return []Role{
		{Name: "guest", Title: "Guest", Permissions: guest},
		{Name: "default", Title: "Default", Permissions: []string{UserEverything}},
		{Name: "admin", Title: "Administrator"},
	}
}

// builtin is what every app user may do.
var builtin = mustSet("get:/users/${user}")

func mustSet(texts ...string) *Set {
	ps := make([]*Permission, len(texts))
	for i, text := range texts {
		p, err := ParsePermission(text)
		if err != nil {
			panic(err)
		}
		ps[i] = p
	}
	return NewSet(ps)
}
