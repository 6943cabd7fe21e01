package management_test

import (
	"strings"
	"testing"

	"github.com/trellisdb/trellis/api/management"
)

// Answers of the matrix.
const (
	no      = "401 unauthorized"
	revoked = "401 auth_invalid"
	yes     = "200"
	off     = "501 not_implemented"
	arg     = "400 illegal_argument"
	unknown = "400 management"
	missing = "404 service_resource_not_found"
	gone    = "404 entity_not_found"
	nowhere = "404 not_found"
	method  = "405 not_allowed"
	grant   = "400 invalid_grant"
	social  = "400 invalid_request"
)

// caller of the matrix, in the order of its columns.
type caller struct{ name, token string }

func (w *world) callers() []caller {
	w.t.Helper()
	over := w.userToken("acme/shop", "lee", "pw4lee")
	w.ok(call{Method: "PUT", Path: "/acme/shop/users/lee/revoketoken?token=" + over})
	return []caller{
		{"anonymous", ""}, {"app user", w.acme.user}, {"app client", w.acme.appToken}, {"org client", w.acme.clientToken},
		{"member", w.acme.owner}, {"stranger", w.other.owner}, {"superuser", w.super},
		{"other app client", w.other.appToken}, {"other org client", w.other.clientToken}, {"other user", w.other.user}, {"revoked", over},
	}
}

// Columns of a row, by whom an endpoint is for.
func everybody(s string) []string { return []string{s, s, s, s, s, s, s, s, s, s, revoked} }
func members(s string) []string   { return []string{no, no, no, s, s, no, s, no, no, no, revoked} }
func super(s string) []string     { return []string{no, no, no, no, no, no, s, no, no, no, revoked} }
func self(s string) []string      { return []string{no, no, no, no, s, no, s, no, no, no, revoked} }
func data(guest, user, foreign string) []string {
	return []string{guest, user, yes, yes, yes, no, yes, no, no, foreign, revoked}
}

// vouching is for sign-in with another service, without a token.
func vouching(guest string) []string {
	return []string{guest, social, social, social, social, no, social, no, no, no, revoked}
}

// ofToken is for token endpoints without a grant: who is signed in as an admin user gets
// another token.
func ofToken(user, client string) []string {
	return []string{grant, user, client, client, yes, yes, yes, client, client, user, revoked}
}

type row struct {
	method, path string
	body         any
	want         []string
}

// matrix is the access matrix of spec auth-and-tokens section 10: each route with each
// kind of caller. The calls are chosen so that who is let in changes nothing that a
// later row depends on.
func (w *world) matrix() []row {
	const nobody = "00000000-0000-0000-0000-00000000ffff"
	json := object{}
	rows := []row{
		{"GET", "/management/token", nil, ofToken(grant, grant)},
		{"POST", "/management/token", json, ofToken(grant, grant)},
		{"GET", "/management/me", nil, ofToken(no, grant)},
		{"POST", "/management/me", json, ofToken(grant, grant)},
		{"GET", "/management/authorize", nil, everybody(yes)},
		{"POST", "/management/authorize", nil, everybody(yes)},
		{"GET", "/management/tokendetails", nil, everybody(off)},
		{"GET", "/management/externaltoken", nil, everybody(off)},
		{"PUT", "/management/token", json, everybody(method)},
		{"GET", "/management/nope", nil, everybody(nowhere)},
		{"GET", "/management", nil, everybody(nowhere)},

		{"POST", "/management/orgs", json, everybody(arg)},
		{"GET", "/management/orgs", nil, super(yes)},
		{"GET", "/management/organizations?limit=1", nil, super(yes)},
		{"DELETE", "/management/orgs", nil, everybody(method)},
		{"GET", "/management/orgs/acme", nil, members(yes)},
		{"GET", "/management/ORGS/ACME/", nil, members(yes)},
		{"GET", "/management/orgs/" + w.acme.id, nil, members(yes)},
		{"GET", "/management/orgs/nope", nil, everybody(unknown)},
		{"PUT", "/management/orgs/acme", json, members(yes)},
		{"DELETE", "/management/orgs/acme", nil, everybody(off)},
		{"POST", "/management/orgs/acme", nil, everybody(method)},
		{"GET", "/management/orgs/acme/activate", nil, everybody(arg)},
		{"GET", "/management/orgs/acme/confirm", nil, everybody(arg)},
		{"GET", "/management/orgs/nope/reactivate", nil, everybody(unknown)},
		{"GET", "/management/orgs/acme/feed", nil, members(yes)},
		{"GET", "/management/orgs/acme/credentials", nil, members(yes)},
		{"POST", "/management/orgs/acme/credentials", nil, members(yes)},
		{"DELETE", "/management/orgs/acme/credentials", nil, everybody(method)},
		{"GET", "/management/orgs/acme/config", nil, super(yes)},
		{"PUT", "/management/orgs/acme/config", json, super(yes)},
		{"POST", "/management/orgs/acme/export", json, members(off)},
		{"GET", "/management/orgs/acme/export/" + nobody, nil, members(gone)},
		{"GET", "/management/orgs/acme/export/" + nobody + "/files", nil, members(gone)},
		{"GET", "/management/orgs/acme/tasks", nil, members(yes)},
		{"GET", "/management/orgs/acme/nope", nil, everybody(nowhere)},

		{"GET", "/management/orgs/acme/users", nil, members(yes)},
		{"POST", "/management/orgs/acme/users", json, members(arg)},
		{"POST", "/management/orgs/acme/users", object{"email": []any{}}, members(arg)},
		{"POST", "/management/users", object{"email": object{"a": 1}}, everybody(arg)},
		{"GET", "/management/orgs/acme/users/resetpw", nil, everybody(yes)},
		{"POST", "/management/orgs/acme/users/resetpw", json, everybody(arg)},
		{"GET", "/management/orgs/acme/users/acmeowner", nil, members(yes)},
		{"PUT", "/management/orgs/acme/users/acmeowner", json, members(yes)},
		{"PUT", "/management/orgs/acme/users/acmeowner", object{"city": "Oslo"}, []string{no, no, no, no, yes, no, yes, no, no, no, revoked}},
		{"DELETE", "/management/orgs/acme/users/acmeowner", nil, members("400 unable_to_leave_organization")},
		{"GET", "/management/orgs/acme/users/nobody", nil, everybody(unknown)},
		{"GET", "/management/orgs/acme/users/otherowner", nil, members(unknown)},
		{"PUT", "/management/orgs/acme/users/acmeowner/password", json, everybody(arg)},
		{"POST", "/management/orgs/acme/users/acmeowner/password", json, everybody(arg)},
		{"PUT", "/management/orgs/acme/users/otherowner/password", json, everybody(unknown)},
		{"GET", "/management/orgs/acme/users/acmeowner/resetpw", nil, everybody(yes)},
		{"POST", "/management/orgs/acme/users/acmeowner/resetpw", object{"password1": "x"}, everybody(arg)},
		{"GET", "/management/orgs/acme/users/acmeowner/activate", nil, everybody(arg)},
		{"GET", "/management/orgs/acme/users/acmeowner/confirm", nil, everybody(arg)},
		{"GET", "/management/orgs/acme/users/otherowner/reactivate", nil, everybody(unknown)},
		{"GET", "/management/orgs/acme/users/acmeowner/feed", nil, self(yes)},
		{"PUT", "/management/orgs/acme/users/acmeowner/revoketoken", nil, self(arg)},
		{"POST", "/management/orgs/acme/users/acmeowner/revoketoken", json, self(arg)},

		{"GET", "/apps", nil, super(yes)},
		{"GET", "/applications?deleted=true", nil, super(yes)},
		{"GET", "/management/orgs/acme/apps", nil, members(yes)},
		{"GET", "/management/organizations/acme/applications", nil, members(yes)},
		{"POST", "/management/orgs/acme/apps", json, members(arg)},
		{"GET", "/management/orgs/acme/apps/shop", nil, members(yes)},
		{"GET", "/management/orgs/acme/apps/" + w.acme.appID, nil, members(yes)},
		{"GET", "/management/orgs/acme/apps/" + w.other.appID, nil, everybody(gone)},
		{"GET", "/management/orgs/acme/apps/nope", nil, everybody(gone)},
		{"DELETE", "/management/orgs/acme/apps/shop", nil, members(arg)},
		{"PUT", "/management/orgs/acme/apps/shop", nil, members(gone)},
		{"PUT", "/management/orgs/acme/apps/" + w.acme.appID, nil, members(gone)},
		{"GET", "/management/orgs/acme/apps/shop/credentials", nil, members(yes)},
		{"POST", "/management/orgs/acme/apps/shop/credentials", nil, members(yes)},
		{"GET", "/management/orgs/acme/apps/shop/_size", nil, members(yes)},
		{"GET", "/management/orgs/acme/apps/shop/collections/_size", nil, members(yes)},
		{"GET", "/management/orgs/acme/apps/shop/users/_size", nil, members(yes)},
		{"GET", "/management/orgs/acme/apps/shop/status", nil, members(yes)},
		{"POST", "/management/orgs/acme/apps/shop/sia-provider", json, members(arg)},
		{"POST", "/management/orgs/acme/apps/shop/import", nil, members(arg)},
		{"POST", "/management/orgs/acme/apps/shop/export", json, members(off)},
		{"POST", "/management/orgs/acme/apps/shop/collection/users/export", json, members(off)},
		{"GET", "/management/orgs/acme/apps/shop/imports", nil, members(yes)},
		{"POST", "/management/orgs/acme/apps/shop/imports", json, members(off)},
		{"GET", "/management/orgs/acme/apps/shop/imports/x", nil, members(gone)},
		{"GET", "/management/orgs/acme/apps/shop/imports/x/files", nil, members(gone)},
		{"GET", "/management/orgs/acme/apps/shop/imports/x/files/y", nil, members(gone)},
		{"GET", "/management/orgs/acme/apps/shop/imports/x/files/y/errors", nil, members(gone)},
		{"GET", "/management/orgs/acme/apps/shop/tasks", nil, members(yes)},
		{"GET", "/management/orgs/acme/apps/shop/tasks/" + nobody, nil, members(gone)},
		{"DELETE", "/management/orgs/acme/apps/shop/tasks/" + nobody, nil, members(gone)},
		{"GET", "/management/orgs/acme/apps/shop/nope", nil, everybody(nowhere)},

		{"POST", "/management/users", json, everybody(arg)},
		{"GET", "/management/users", nil, everybody(method)},
		{"GET", "/management/users/resetpw", nil, everybody(yes)},
		{"POST", "/management/users/resetpw", json, everybody(arg)},
		{"GET", "/management/users/acmeowner", nil, self(yes)},
		{"GET", "/management/users/ACME@example.org", nil, self(yes)},
		{"GET", "/management/users/" + w.acme.ownerID, nil, self(yes)},
		{"GET", "/management/users/nobody", nil, everybody(unknown)},
		{"GET", "/management/users/me", nil, []string{no, no, no, no, yes, yes, yes, no, no, no, revoked}},
		{"PUT", "/management/users/acmeowner/", object{"city": "Oslo"}, self(yes)},
		{"PUT", "/management/users/acmeowner/password", json, everybody(arg)},
		{"POST", "/management/users/acmeowner/password", json, everybody(arg)},
		{"GET", "/management/users/acmeowner/resetpw", nil, everybody(yes)},
		{"GET", "/management/users/nobody/resetpw", nil, everybody(unknown)},
		{"POST", "/management/users/acmeowner/resetpw", object{"password1": "x"}, everybody(arg)},
		{"GET", "/management/users/acmeowner/activate", nil, everybody(arg)},
		{"GET", "/management/users/acmeowner/confirm", nil, everybody(arg)},
		{"GET", "/management/users/nobody/reactivate", nil, everybody(unknown)},
		{"GET", "/management/users/acmeowner/feed", nil, self(yes)},
		{"GET", "/management/users/acmeowner/organizations", nil, self(yes)},
		{"GET", "/management/users/acmeowner/orgs", nil, self(yes)},
		{"POST", "/management/users/acmeowner/orgs", json, self(unknown)},
		{"PUT", "/management/users/acmeowner/orgs/acme", nil, members(yes)},
		{"PUT", "/management/users/acmeowner/organizations/nope", nil, everybody(unknown)},
		{"DELETE", "/management/users/acmeowner/orgs/acme", nil, members("400 unable_to_leave_organization")},
		{"PUT", "/management/users/acmeowner/revoketoken", nil, self(arg)},
		{"POST", "/management/users/acmeowner/revoketoken", json, self(arg)},

		{"PUT", "/system/database/setup", nil, super(yes)},
		{"PUT", "/system/database/bootstrap", nil, super(yes)},
		{"GET", "/system/superuser/setup", nil, super(yes)},
		{"PUT", "/system/superuser/setup", nil, super(yes)},
		{"GET", "/system/migrate/status", nil, super(yes)},
		{"GET", "/system/migrate/count", nil, super(yes)},
		{"PUT", "/system/migrate/set", nil, super(yes)},
		{"PUT", "/system/migrate/run", nil, super(yes)},
		{"PUT", "/system/migrate/run/x", nil, super(yes)},
		{"GET", "/system/queue/size", nil, super(yes)},
		{"POST", "/system/index/rebuild", nil, super(yes)},
		{"POST", "/system/index/rebuild/management", nil, super(yes)},
		{"POST", "/system/index/rebuild/" + w.acme.appID, nil, super(yes)},
		{"POST", "/system/index/rebuild/" + nobody, nil, super(gone)},
		{"POST", "/system/index/rebuild/" + w.acme.appID + "/users", nil, super(yes)},
		{"GET", "/system/index/rebuild/" + nobody, nil, super(yes)},
		{"DELETE", "/system/applications/" + w.acme.appID, nil, super(arg)},
		{"GET", "/system/applications/" + w.acme.appID + "/job/" + nobody, nil, super(yes)},
		{"POST", "/system/connection/dedup/" + w.acme.appID, nil, super(yes)},
		{"GET", "/system/database/setup", nil, super(method)},
		{"GET", "/system/nope", nil, super(nowhere)},

		{"GET", "/acme/shop/token", nil, everybody(grant)},
		{"POST", "/acme/shop/token", json, everybody(grant)},
		{"GET", "/acme/shop/authorize", nil, everybody("400")},
		{"POST", "/acme/shop/authorize", nil, everybody("400")},
		{"GET", "/acme/shop/auth/facebook", nil, vouching(no)},
		{"POST", "/acme/shop/auth/Facebook", json, vouching(no)},
		{"GET", "/acme/sandbox/auth/facebook", nil, []string{social, no, no, social, social, no, social, no, no, no, revoked}},
		{"GET", "/acme/shop/auth/nobody", nil, []string{no, nowhere, nowhere, nowhere, nowhere, no, nowhere, no, no, no, revoked}},
		{"GET", "/acme/shop/export", nil, data(no, no, no)},
		{"GET", "/acme/shop/credentials", nil, data(no, no, no)},
		{"POST", "/acme/shop/credentials", nil, data(no, no, no)},
		{"GET", "/acme/sandbox/credentials", nil, []string{no, no, no, yes, yes, no, yes, no, no, no, revoked}},
		{"GET", "/" + w.acme.appID + "/credentials", nil, data(no, no, no)},
		{"GET", "/acme/shop/users/lee/token", nil, data(no, "403 unauthorized_client", "403 unauthorized_client")},
		{"PUT", "/acme/shop/users/lee/revoketoken", nil, []string{no, arg, arg, arg, arg, no, arg, no, no, no, revoked}},
		{"POST", "/acme/shop/users/lee/revoketoken", json, []string{no, arg, arg, arg, arg, no, arg, no, no, no, revoked}},
		{"GET", "/acme/shop/users/resetpw", nil, everybody(yes)},
		{"POST", "/acme/shop/users/resetpw", json, everybody(arg)},
		{"GET", "/acme/shop/user/lee/resetpw", nil, everybody(yes)},
		{"GET", "/acme/shop/users/nobody/resetpw", nil, everybody(missing)},
		{"POST", "/acme/shop/users/lee/resetpw", object{"password1": "x"}, everybody(arg)},
		{"GET", "/acme/shop/users/lee/activate", nil, everybody(arg)},
		{"GET", "/acme/shop/users/lee/confirm", nil, everybody(arg)},
		{"GET", "/acme/shop/users/nobody/reactivate", nil, everybody(missing)},

		// Beside this package's routes.
		{"GET", "/acme/shop/users", nil, data(no, yes, no)},
		{"GET", "/acme/shop", nil, data(no, yes, no)},
		{"GET", "/acme/sandbox/users", nil, []string{yes, no, no, yes, yes, no, yes, no, no, no, revoked}},
		{"GET", "/" + w.acme.id + "/" + w.acme.appID + "/users", nil, data(no, yes, no)},
		{"GET", "/acme/nope/users", nil, everybody("404 organization_application_not_found")},
		{"GET", "/nope/shop/users", nil, everybody("404 organization_application_not_found")},
		{"GET", "/00000000-0000-0000-0000-000000000001/users", nil, super(off)},
		{"GET", "/00000000-0000-0000-0000-000000000001/credentials", nil, super(off)},
		{"POST", "/00000000-0000-0000-0000-000000000001/token", json, super(off)},
		{"GET", "/00000000-0000-0000-0000-000000000001/users/acmeowner/resetpw", nil, super(off)},
	}
	// These sign their callers out: who was, is revoked from then on.
	over := func(s []string, columns ...int) []string {
		s = append([]string(nil), s...)
		for _, c := range columns {
			s[c] = revoked
		}
		return s
	}
	const user, member = 1, 4
	lee := []string{no, yes, yes, yes, yes, no, yes, no, no, no, revoked}
	return append(rows,
		row{"PUT", "/management/users/acmeowner/revoketokens", nil, self(yes)},
		row{"POST", "/management/users/acmeowner/revoketokens", nil, over(self(yes), member)},
		row{"PUT", "/management/orgs/acme/users/acmeowner/revoketokens", nil, over(self(yes), member)},
		row{"POST", "/management/orgs/acme/users/acmeowner/revoketokens", nil, over(self(yes), member)},
		row{"PUT", "/acme/shop/users/lee/revoketokens", nil, over(lee, member)},
		row{"POST", "/acme/shop/users/lee/revoketokens", nil, over(lee, user, member)},
	)
}

func TestAccess(t *testing.T) {
	w := newWorld(t)
	callers, covered := w.callers(), map[string]bool{}
	over := w.ok(call{Method: "POST", Path: "/management/token", Body: object{"grant_type": "password", "username": "acmeowner", "password": password, "ttl": 1}}).Str("access_token")
	forged := []byte(w.acme.owner)
	forged[50] ^= 1 // of the signature; both are letters or digits of base64
	useless := []caller{{"401 expired_token", over}, {"401 auth_bad_access_token", string(forged)}, {"401 auth_bad_access_token", "BADTOKEN"}}
	for _, r := range w.matrix() {
		covered[routeOf(r.method, r.path)] = true
		for i, c := range callers {
			a := w.do(call{Method: r.method, Path: r.path, Token: c.token, Body: r.body})
			if a.Error() != r.want[i] {
				t.Errorf("%s %s as %s: %s, want %s\n%.300s", r.method, r.path, c.name, a.Error(), r.want[i], a.Text)
			}
		}
		// A credential that is no good is refused wherever it is shown.
		for _, c := range useless {
			if a := w.do(call{Method: r.method, Path: r.path, Token: c.token, Body: r.body}); a.Error() != c.name {
				t.Errorf("%s %s: %s, want %s\n%.300s", r.method, r.path, a.Error(), c.name, a.Text)
			}
		}
	}
	for _, r := range management.Routes() {
		if !covered[r.Method+" "+r.Pattern] {
			t.Errorf("%s %s is not in the matrix", r.Method, r.Pattern)
		}
	}
	if !strings.Contains(w.do(call{Path: "/system/x"}).Header.Get("WWW-Authenticate"), "Usergrid") {
		t.Error("no challenge for the superuser's endpoints")
	}
}

// routeOf returns the route that a path is on: of those that fit, the one with the
// earliest literal. Empty: none.
func routeOf(method, path string) string {
	path, _, _ = strings.Cut(path, "?")
	segments := strings.Split(strings.Trim(path, "/"), "/")
	best, literals := "", ""
	for _, r := range management.Routes() {
		pattern := strings.Split(r.Pattern[1:], "/")
		if r.Method != method || len(pattern) != len(segments) {
			continue
		}
		fit := "" // an l for each literal, a p for each placeholder
		for i, p := range pattern {
			switch s := strings.ToLower(segments[i]); {
			case strings.HasPrefix(p, "{"):
				fit += "p"
			case p == s, p == "orgs" && s == "organizations", p == "apps" && s == "applications", p == "users" && s == "user":
				fit += "l"
			default:
				fit += "-"
			}
		}
		if !strings.Contains(fit, "-") && (best == "" || fit < literals) {
			best, literals = r.Method+" "+r.Pattern, fit
		}
	}
	return best
}
