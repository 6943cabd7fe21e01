package management_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/trellisdb/trellis/api/apitest"
)

// TestExamplesOfTokens goes through spec auth-and-tokens.
func TestExamplesOfTokens(t *testing.T) {
	w := newWorld(t)
	acme := &w.acme
	orgID, orgSecret, _ := strings.Cut(acme.client, ":")
	appID, appSecret, _ := strings.Cut(acme.app, ":")
	clientBody := func(id, secret string) object {
		return object{"grant_type": "client_credentials", "client_id": id, "client_secret": secret}
	}
	admin := func(more object) object {
		b := object{"grant_type": "password", "username": "acmeowner", "password": password}
		for k, v := range more {
			b[k] = v
		}
		return b
	}
	lee := object{"grant_type": "password", "username": "lee", "password": "pw4lee"}
	token := func(path string, body object) string {
		return w.ok(call{Method: "POST", Path: path, Body: body}).Str("access_token")
	}
	if len(orgID) != 26 || len(appID) != 26 || !strings.HasPrefix(orgID, "b3U6") || !strings.HasPrefix(appID, "YXA6") ||
		len(orgSecret) != 31 || len(appSecret) != 31 || !strings.HasPrefix(orgSecret, "b3U6") || !strings.HasPrefix(appSecret, "YXA6") {
		t.Errorf("clients %s %s", acme.client, acme.app)
	}
	for _, text := range []string{acme.owner, acme.user, acme.clientToken, acme.appToken} {
		if len(text) != 63 || !strings.HasPrefix(text, "YWMt") {
			t.Errorf("token %s", text)
		}
	}
	spare := token("/acme/shop/token", lee)
	adminSpare := token("/management/token", admin(nil))
	const adminFacts = "access_token expires_in=604800 passwordChanged user.username=acmeowner user.applicationId=00000000-0000-0000-0000-000000000001 user.adminUser=true user.properties.company=Acme user.organizations.acme.name=acme user.organizations.acme.uuid user.organizations.acme.applications.acme/sandbox !user.organizations.acme.users !timestamp !action !token_type !refresh_token"
	const userFacts = "access_token expires_in=604800 user.type=user user.username=lee user.email=lee@example.org user.activated=true user.picture !user.password !timestamp"
	const oauth = "!exception !timestamp !duration error_description=invalid_username_or_password"
	query := func(path string, pairs ...string) string { return path + "?" + encode(pairs...) }
	w.examples([]example{
		// 4.3
		{"POST", "/management/token", "", admin(object{"ttl": "3600000"}), "200", strings.ReplaceAll(adminFacts, "604800", "3600")},
		{"POST", "/management/token", "", admin(object{"username": "ACME@example.org"}), "200", adminFacts},
		{"POST", "/management/token", "", admin(object{"username": acme.ownerID}), "200", adminFacts},
		{"GET", query("/management/token", "grant_type", "password", "username", "acmeowner", "password", password), "", nil, "200", adminFacts},
		{"POST", "/management/token", "", encode("grant_type", "password", "username", "acmeowner", "password", password), "200", adminFacts},
		{"POST", "/management/me", "", encode("grant_type", "password", "username", "acmeowner", "password", password), "200", adminFacts},
		{"GET", "/management/token?access_token=" + url.QueryEscape(acme.owner), "", nil, "200", adminFacts},
		{"POST", "/management/token", "", admin(object{"password": "wrong"}), grant, oauth},
		{"POST", "/management/token", "", object{"grant_type": "refresh_token"}, grant, oauth},
		{"POST", "/management/token", "", nil, arg, "error_description=missing_json_post_data"},
		{"POST", "/management/token", "", admin(object{"ttl": "derp"}), arg, ""},
		{"POST", "/management/token", "", admin(object{"ttl": -1}), arg, ""},
		{"POST", "/management/token", "", admin(object{"ttl": 0}), "200", "expires_in=604800"},
		{"POST", "/management/token", "", admin(object{"ttl": 2000}), "200", "expires_in=2"},
		{"POST", "/management/token", "", admin(object{"ttl": "9223372036854775807"}), arg, "error_description=Your_token_age_cannot_be_more_than_the_maximum_age_of_604800000_milliseconds"},
		{"GET", query("/management/token", "grant_type", "password", "username", "acmeowner", "password", password, "ttl", "derp"), "", nil, arg, ""},
		// 4.4, 4.5, 4.8
		{"POST", "/management/token", "", clientBody(orgID, orgSecret), "200", "access_token expires_in=604800 organization.name=acme organization.passwordHistorySize=0 organization.applications.acme/shop organization.users.acmeowner !user"},
		{"POST", "/acme/shop/token", "", clientBody(orgID, orgSecret), "200", "organization.name=acme"},
		{"POST", "/other/shop/token", "", clientBody(orgID, orgSecret), grant, oauth},
		{"POST", "/acme/shop/token", "", clientBody(appID, appSecret), "200", "access_token expires_in=604800 application=" + acme.appID},
		{"POST", "/management/token", "", clientBody(appID, appSecret), "200", "application=" + acme.appID},
		{"POST", "/acme/shop/token", "", encode("grant_type", "client_credentials", "client_id", appID, "client_secret", appSecret), "200", "application=" + acme.appID},
		{"POST", "/acme/shop/token", "", clientBody(appID, "x"), grant, oauth},
		{"POST", "/acme/shop/token", "", encode("grant_type", "client_credentials", "client_id", appID, "client_secret", "x"), grant, oauth},
		{"GET", query("/acme/shop/token", "grant_type", "client_credentials", "client_id", appID, "client_secret", "x"), "", nil, "401 invalid_client", ""},
		{"GET", query("/acme/shop/users", "client_id", appID, "client_secret", appSecret), "", nil, "200", "!params.client_id !params.client_secret"},
		{"GET", query("/acme/shop/users", "client_id", appID, "client_secret", "x"), "", nil, "401 invalid_client", ""},
		// 4.6
		{"POST", "/acme/shop/token", "", lee, "200", userFacts},
		{"POST", "/acme/shop/token", "", object{"grant_type": "password", "email": "lee@example.org", "password": "pw4lee"}, "200", userFacts},
		{"POST", "/acme/shop/token", "", object{"grant_type": "password", "username": acme.userID, "password": "pw4lee"}, "200", userFacts},
		{"GET", query("/acme/shop/token", "grant_type", "password", "username", "LEE", "password", "pw4lee"), "", nil, "200", userFacts},
		{"POST", "/acme/shop/token", "", object{"grant_type": "password", "username": "lee", "password": "x"}, grant, oauth},
		// 6
		{"GET", "/management/me", acme.owner, nil, "200", "access_token=" + acme.owner + " expires_in passwordChanged user.organizations.acme !user.organizations.acme.users"},
		{"GET", "/management/me", "", nil, grant, oauth},
		{"GET", "/management/me", acme.user, nil, "401 unauthorized", ""},
		{"GET", "/management/tokendetails?token=x", "", nil, "501 not_implemented", ""},
		{"GET", "/management/externaltoken", "", nil, "501 not_implemented", ""},
		// 7
		{"GET", "/acme/shop/users/lee/token?ttl=5000", acme.appToken, nil, "200", "access_token expires_in=5 user.username=lee"},
		{"GET", "/acme/shop/users/lee/token", acme.user, nil, "403 unauthorized_client", "!exception"},
		{"GET", "/acme/shop/auth/facebook", "", nil, "401 unauthorized", ""},
		{"GET", "/acme/sandbox/auth/facebook", "", nil, "400 invalid_request", "error_description=missing_access_token !exception"},
		// 8
		{"PUT", "/acme/shop/users/lee/revoketoken", acme.user, nil, arg, ""},
		{"PUT", "/acme/shop/users/lee/revoketoken?token=" + spare, "", nil, "200", "action=revoked_user_token timestamp duration !params"},
		{"GET", "/acme/shop/users/me", spare, nil, "401 auth_invalid", ""},
		{"PUT", "/acme/shop/users/lee/revoketoken?token=" + spare, acme.user, nil, "200", "action=revoked_user_token"},
		{"POST", "/acme/shop/users/lee/revoketoken", acme.appToken, object{"token": acme.owner}, arg, ""},
		{"GET", "/acme/shop/users/me", acme.user, nil, "200", ""},
		{"PUT", "/management/users/acmeowner/revoketoken?token=" + adminSpare, "", nil, "200", "action=revoked_user_tokens"},
		{"GET", "/management/me", adminSpare, nil, "401 auth_invalid", ""},
		{"PUT", "/management/users/acmeowner/revoketokens", "", nil, "401 unauthorized", ""},
		{"GET", "/management/me", acme.owner, nil, "200", ""},
		{"PUT", "/acme/shop/users/lee/revoketokens", acme.user, nil, "200", "action=revoked_user_tokens"},
		{"GET", "/acme/shop/users/me", acme.user, nil, "401 auth_invalid", ""},
		// 5 and 13
		{"PUT", "/acme/shop", acme.owner, object{"accesstokenttl": "31536000000"}, "200", "entities.0.accesstokenttl=3.1536e+10"},
		{"POST", "/acme/shop/token", "", lee, "200", "expires_in=3.1536e+07"},
		{"POST", "/acme/shop/token", "", clientBody(appID, appSecret), "200", "expires_in=604800"},
		{"PUT", "/acme/shop", acme.owner, object{"accesstokenttl": 0}, "200", ""},
		{"POST", "/acme/shop/token", "", lee, "200", "expires_in=6.3072e+08"},
		{"PUT", "/acme/shop", acme.owner, object{"accesstokenttl": 604800000}, "200", ""},
		{"PUT", "/acme/shop/users/lee/password", "", object{"password": "pw4lee", "newpassword": "next4lee"}, "200", "action=set_user_password"},
		{"PUT", "/acme/shop/users/lee/password", acme.appToken, object{"newpassword": "pw4lee"}, "200", "action=set_user_password"},
		{"POST", "/acme/shop/users/lee/password", "", object{"oldpassword": "x", "newpassword": "next4lee"}, "400 auth_invalid_username_or_password", ""},
		{"POST", "/acme/shop/users/lee/password", "", object{"newpassword": "next4lee"}, arg, ""},
		{"POST", "/acme/shop/users/nobody/password", acme.owner, object{"newpassword": "next4lee"}, missing, ""},
		{"POST", "/acme/shop/users/lee/setpin", acme.owner, "pin=1234", "200", "action=set_user_pin"},
		{"POST", "/acme/shop/token", "", object{"grant_type": "pin", "username": "lee", "pin": "1234"}, "200", userFacts},
		{"POST", "/acme/shop/token", "", object{"grant_type": "pin", "username": "lee", "pin": "4321"}, grant, oauth},
		{"GET", "/acme/shop/users/lee/sendpin", acme.owner, nil, "200", "action=retrieve_user_pin"},
		{"GET", "/acme/shop/users/lee/reactivate", "", nil, "200", "action=reactivate_user"},
		{"GET", "/acme/shop/users/lee/credentials", w.super, nil, "200", "action=get_user_credentials credentials.cipher=bcrypt credentials.recoverable=false credentials.encrypted=true credentials.secret credentials.hashType credentials.cryptoChain.0=bcrypt credentials.createDate"},
		{"GET", "/acme/shop/users/lee/credentials", acme.owner, nil, "401 unauthorized", ""},
		{"PUT", "/acme/shop/users/lee/credentials", w.super, object{}, arg, ""},
		{"POST", "/acme/shop/users/lee/deactivate", acme.owner, nil, "200", "action=Deactivate_user entities.0.activated=false entities.0.deactivated"},
		{"POST", "/acme/shop/token", "", lee, grant, "error_description=user_not_activated"},
		// 9.5, 9.7
		{"GET", "/acme/shop/roles?ql=order+by+name", acme.owner, nil, "200", "entities.0.name=admin entities.0.title=Administrator entities.1.name=default entities.2.name=guest entities.2.inactivity=0 !entities.3"},
		{"GET", "/acme/shop/roles/guest/permissions", acme.owner, nil, "200", "data.2 !data.3"},
		{"GET", "/acme/sandbox/roles/guest/permissions", acme.owner, nil, "200", "data.3 !data.4"},
		{"GET", "/acme/sandbox/roles/default/permissions", acme.owner, nil, "200", "data.0=get,put,post,delete:/** !data.1"},
		{"POST", "/acme/shop/roles/guest/permissions", acme.owner, object{}, arg, "error_description=You_must_supply_a_'permission'_property"},
		{"GET", "/acme/shop/rolenames", acme.owner, nil, "200", "data.guest.title=Guest data.guest.name=guest data.guest.inactivity=0"},
		// 1
		{"GET", "/other/shop/users", acme.appToken, nil, "401 unauthorized", "error_description=No_application_access_authorized"},
		{"GET", "/other/shop/users", acme.owner, nil, "401 unauthorized", "error_description=No_application_access_authorized"},
		{"GET", "/management/orgs/acme", acme.appToken, nil, "401 unauthorized", "error_description=No_organization_access_authorized"},
		{"GET", "/management/users/acmeowner", acme.clientToken, nil, "401 unauthorized", "error_description=No_admin_user_access_authorized"},
		{"GET", "/management/users/me", acme.clientToken, nil, "401 unauthorized", "error_description=No_admin_identity_for_access_credentials_provided"},
		{"GET", "/00000000-0000-0000-0000-000000000001/users", acme.owner, nil, "401 unauthorized", ""},
	})
	// Section 3: which credentials a header can hold.
	for _, c := range []struct{ header, want string }{
		{"bearer " + acme.owner, "200"}, {"Other x, Bearer " + acme.owner, "200"}, {"Other x", "401 unauthorized"}, {"Bearer BADTOKEN", "401 auth_bad_access_token"},
	} {
		w.refused(c.want, call{Path: "/management/orgs/acme", Header: map[string]string{"Authorization": c.header}})
	}
	w.refused("200", call{Path: "/acme/shop/users", Basic: acme.client})
	w.refused("200", call{Path: "/apps", Basic: apitest.SuperuserName + ":" + apitest.SuperuserPassword})
	w.refused("401 auth_invalid_credentials", call{Path: "/acme/shop/users", Basic: appID + ":x"})
	w.refused("401 auth_invalid_credentials", call{Path: "/acme/shop/users", Basic: "acmeowner:" + password})
	if a := w.refused("401 unauthorized", call{Path: "/apps", Basic: apitest.SuperuserName + ":x"}); a.Header.Get("WWW-Authenticate") != `Basic realm="Usergrid Authentication"` {
		t.Errorf("%v", a.Header)
	}
}
