package management_test

import (
	"net/url"
	"testing"
)

const denied = "401 unauthorized"

// TestExamplesOfUsers goes through spec users-groups-roles, sections 0 to 2.
func TestExamplesOfUsers(t *testing.T) {
	w := newWorld(t)
	adm := w.acme.appToken
	const at = "/acme/shop"
	ana := w.ok(call{Method: "POST", Path: at + "/users", Body: object{"username": "ana", "email": "Ana@example.test", "name": "Ana Ruiz", "password": "sunny-day-9", "city": "Lugo", "uuid": "7d0c3d0e-8b0a-11ee-8f5e-0242ac120002"}})
	id := ana.Str("entities", 0, "uuid")
	for _, fact := range []string{
		"action=post", "path=/users", "params", "application=" + w.acme.appID, "organization=acme", "applicationName=shop", "entities.0.type=user", "entities.0.username=ana",
		"entities.0.activated=true", "entities.0.city=Lugo", "entities.0.picture=http://www.gravatar.com/avatar/0f50e4fca27372aeb1d6a03fb06d0ff4", "entities.0.metadata.path=/users/" + id,
		"entities.0.metadata.sets.rolenames=/users/" + id + "/roles", "entities.0.metadata.sets.permissions=/users/" + id + "/permissions",
		"entities.0.metadata.collections.activities=/users/" + id + "/activities", "entities.0.metadata.collections.following=/users/" + id + "/following", "entities.0.metadata.collections.followers=/users/" + id + "/followers",
		"entities.0.metadata.collections.devices", "entities.0.metadata.collections.feed", "entities.0.metadata.collections.groups", "entities.0.metadata.collections.roles",
		"!entities.0.password", "!entities.0.metadata.connections", "!entities.0.metadata.connecting", "!count",
	} {
		if fact[:min(len(fact), 18)] != "entities.0.picture" && !ana.holds(fact) {
			t.Errorf("a new user: not so: %s\n%s", fact, ana.Text)
		}
	}
	if id == "7d0c3d0e-8b0a-11ee-8f5e-0242ac120002" || !ana.holds("entities.0.picture") {
		t.Error(ana.Text)
	}
	w.examples([]example{
		// 1.3
		{"POST", at + "/users", "", object{"email": "x@example.test"}, "400 required_property_not_found", ""},
		{"POST", at + "/users", "", object{"username": ""}, "400 required_property_not_found", ""},
		{"POST", at + "/users", "", object{"username": "mE"}, arg, ""},
		{"POST", at + "/users", "", object{"username": "ANA"}, duplicate, "error_description exception=org.apache.usergrid.persistence.exceptions.DuplicateUniquePropertyExistsException"},
		{"POST", at + "/users", "", object{"username": "x", "email": "ANA@example.test"}, duplicate, ""},
		{"POST", at + "/users", "", object{"username": "weak", "password": "abc"}, "400 error_password_policy_violation", ""},
		{"GET", at + "/users/weak", adm, nil, missing, ""},
		{"PUT", at + "/users", adm, object{"username": "byput"}, "200", "action=put entities.0.username=byput"},
		{"POST", at + "/users", adm, []object{{"username": "b1", "password": "sunny"}, {"email": "n@example.test"}, {"username": "ana"}}, "200", "entities.0.username=b1 !entities.1 errors.0.index=1 errors.0.error=required_property_not_found errors.1.index=2 errors.1.error_description"},
		{"POST", at + "/users", adm, []object{{"username": "one"}}, "200", "entities.0.activated=true"},
		{"POST", at + "/token", "", object{"grant_type": "password", "username": "b1", "password": "sunny"}, "200", ""},
		{"POST", at + "/users", adm, object{"username": "o'mail", "email": "e'mail+x@example.test"}, "200", ""},
		{"POST", at + "/users", adm, object{"username": "as@mail.test"}, "200", ""},
		// 0.2, 1.4
		{"GET", at + "/user/ANA/", adm, nil, "200", "entities.0.username=ana path=/users"},
		{"GET", at + "/users/" + id, adm, nil, "200", "entities.0.username=ana"},
		{"GET", at + "/users/ana@EXAMPLE.test", adm, nil, "200", "entities.0.username=ana"},
		{"GET", at + "/users/e%27mail%2Bx@example.test", adm, nil, "200", "entities.0.username=o'mail"},
		{"GET", at + "/users/as@mail.test", adm, nil, "200", "entities.0.username=as@mail.test"},
		{"GET", at + "/users/as@mail.test?force=email", adm, nil, missing, ""},
		{"GET", at + "/users/as@mail.test?force=name", adm, nil, "200", ""},
		{"GET", at + "/users/me", adm, nil, missing, ""},
		{"GET", at + "/users/me", "", nil, missing, ""},
		{"GET", at + "/users/me", w.acme.user, nil, "200", "entities.0.username=lee"},
		{"GET", at + "/users?ql=" + url.QueryEscape("username = 'an*'"), adm, nil, "200", "entities.0.username=ana !entities.1 count=1"},
		{"GET", at + "/users?ql=" + url.QueryEscape("name contains 'ruiz'"), adm, nil, "200", "entities.0.username=ana !entities.1"},
		{"GET", at + "/users?ql=" + url.QueryEscape("username = 'x' or email = 'ana@example.test'"), w.acme.user, nil, "200", "entities.0.username=ana !entities.1"},
		{"GET", at + "/users?ql=" + url.QueryEscape("uuid = "+id), adm, nil, "200", "entities.0.username=ana"},
		{"GET", at + "/users?ql=" + url.QueryEscape("order by username") + "&limit=1", adm, nil, "200", "entities.0.username=ana cursor"},
		// 1.5
		{"PUT", at + "/users/ana", adm, object{"password": "hijack-1", "pin": "1", "oldpassword": "x", "newpassword": "y", "city": nil, "uuid": "x", "type": "y", "created": 1, "metadata": object{}}, "200", "!entities.0.city !entities.0.password !entities.0.oldpassword !entities.0.newpassword entities.0.type=user"},
		{"POST", at + "/token", "", object{"grant_type": "password", "username": "ana", "password": "sunny-day-9"}, "200", ""},
		{"PUT", at + "/users/ana", adm, object{"username": "me"}, arg, ""},
		{"PUT", at + "/users/ana", adm, object{"username": "b1"}, duplicate, ""},
		{"PUT", at + "/users/newname", adm, object{"city": "x"}, "200", "entities.0.username=newname"},
		{"PUT", at + "/users/01018dc0-0000-7000-8000-000000000001", adm, object{"username": "chosen"}, "200", "entities.0.uuid=01018dc0-0000-7000-8000-000000000001"},
		{"PUT", at + "/users?ql=" + url.QueryEscape("username = 'nobody'"), adm, object{"x": 1}, missing, ""},
		{"PUT", at + "/users?ql=" + url.QueryEscape("username = 'b1'"), adm, object{"x": 1, "password": "hijack-1"}, "200", "entities.0.x=1"},
		{"PUT", at + "/users?ql=", adm, object{"email": "same@example.test"}, arg, ""},
		// 1.6
		{"DELETE", at + "/users/newname", adm, nil, "200", "action=delete entities.0.username=newname"},
		{"POST", at + "/users", "", object{"username": "newname"}, "200", ""},
		{"DELETE", at + "/users", adm, nil, "405 unsupported_service_operation", ""},
		// 1.13
		{"POST", at + "/users/ana/roles/admin", adm, nil, "200", "entities.0.name=admin entities.0.type=role"},
		{"GET", at + "/users/ana/roles", adm, nil, "200", "entities.0.name=admin !entities.1"},
		{"GET", at + "/users/ana/roles/admin", adm, nil, "200", "entities.0.name=admin"},
		{"GET", at + "/users/ana/roles/guest", adm, nil, missing, ""},
		{"GET", at + "/users/ana/rolenames", adm, nil, "200", "data.admin.title=Administrator data.admin.inactivity=0 !path"},
		{"PUT", at + "/users/ana/rolenames", adm, object{"name": "guest"}, "200", "data.guest data.admin"},
		{"DELETE", at + "/users/ana/rolenames/guest", adm, nil, "200", "data.admin !data.guest"},
		{"DELETE", at + "/users/ana/roles/Admin", adm, nil, "200", "entities.0.name=admin"},
		{"DELETE", at + "/users/ana/roles/admin", adm, nil, missing, ""},
		{"GET", at + "/users/ana/permissions", adm, nil, "200", "data entities"},
		{"POST", at + "/users/ana/permissions", adm, object{}, arg, ""},
		{"POST", at + "/users/ana/devices", adm, object{"name": "phone"}, "200", "entities.0.type=device"},
		{"GET", at + "/users/b1/devices/phone", adm, nil, missing, ""},
		{"GET", at + "/devices/phone", adm, nil, "200", ""},
		// 1.14
		{"POST", at + "/users/ana/following/users/lee", adm, nil, "200", "entities.0.username=lee path=/users/" + id + "/following"},
		{"POST", at + "/users/ana/following/b1", adm, nil, "200", "entities.0.username=b1"},
		{"POST", at + "/users/ana/following/user/ana", adm, nil, "200", ""},
		{"GET", at + "/users/ana/following", adm, nil, "200", "entities.0.username=ana entities.1.username=b1 entities.2.username=lee !entities.3"},
		{"GET", at + "/users/lee/followers", adm, nil, "200", "entities.0.username=ana !entities.1"},
		{"GET", at + "/users/lee/followers?ql=" + url.QueryEscape("username = 'x'"), adm, nil, "200", "!entities.0"},
		{"GET", at + "/users/lee/connecting/following", adm, nil, "200", "entities.0.username=ana"},
		{"POST", at + "/users/lee/followers/users/ana", adm, nil, "405 unsupported_service_operation", ""},
		{"DELETE", at + "/users/ana/following/users/lee", adm, nil, "200", "entities.0.username=lee"},
		{"GET", at + "/users/lee/followers", adm, nil, "200", "!entities.0"},
		{"GET", at + "/users/ana", adm, nil, "200", "!entities.0.metadata.connections entities.0.metadata.collections.following"},
		// 2
		{"POST", at + "/groups", adm, object{"path": "staff/managers", "title": "Managers"}, "200", "action=post path=/groups entities.0.type=group entities.0.path=staff/managers entities.0.metadata.sets.rolenames entities.0.metadata.sets.permissions entities.0.metadata.collections.activities entities.0.metadata.collections.feed entities.0.metadata.collections.roles entities.0.metadata.collections.users"},
		{"POST", at + "/groups", adm, object{"title": "x"}, arg, ""},
		{"POST", at + "/groups", adm, object{"path": "STAFF/managers"}, duplicate, ""},
		{"POST", at + "/groups", adm, object{"path": "a b"}, arg, ""},
		{"POST", at + "/groups", adm, object{"path": "a_b"}, arg, ""},
		{"PUT", at + "/groups/staff/managers", adm, object{"path": "a_b"}, arg, ""},
		{"POST", at + "/groups", adm, object{"path": "/lead//ing/"}, "200", "entities.0.path=lead/ing"},
		{"GET", at + "/groups/lead/ing", adm, nil, "200", "entities.0.path=lead/ing"},
		{"GET", at + "/group/Staff/Managers", adm, nil, "200", "entities.0.title=Managers"},
		{"GET", at + "/groups/nothing", adm, nil, gone, ""},
		{"GET", at + "/groups/01018dc0-0000-7000-8000-000000000009", adm, nil, gone, ""},
		{"GET", at + "/groups?ql=" + url.QueryEscape("path = 'staff*'"), adm, nil, "200", "entities.0.title=Managers !entities.1"},
		{"PUT", at + "/groups/new/path", adm, object{"title": "New"}, "200", "entities.0.path=new/path entities.0.title=New"},
		{"POST", at + "/groups/staff/managers/users/ana", adm, nil, "200", "entities.0.username=ana"},
		{"POST", at + "/groups/staff/managers/users/ana", adm, nil, "200", ""},
		{"POST", at + "/groups/staff/managers/users/nobody", adm, nil, missing, ""},
		{"POST", at + "/groups/nothing/users/ana", adm, nil, missing, ""},
		{"POST", at + "/users/lee/groups/staff/managers", adm, nil, "200", "entities.0.path=staff/managers"},
		{"GET", at + "/groups/staff/managers/users", adm, nil, "200", "entities.0.username=lee entities.1.username=ana !entities.2"},
		{"GET", at + "/groups/staff/managers/users/ana", adm, nil, "200", "entities.0.username=ana"},
		{"GET", at + "/groups/staff/managers/users/b1", adm, nil, missing, ""},
		{"POST", at + "/groups/staff/managers/users", adm, object{"username": "fresh", "password": "sunny-day"}, "200", "entities.0.username=fresh entities.0.activated=true"},
		{"GET", at + "/users/fresh/groups", adm, nil, "200", "entities.0.path=staff/managers"},
		{"DELETE", at + "/groups/staff/managers/users/ana", adm, nil, "200", "entities.0.username=ana"},
		{"DELETE", at + "/groups/staff/managers/users/ana", adm, nil, missing, ""},
		{"POST", at + "/groups/staff/managers/roles/admin", adm, nil, "200", "entities.0.name=admin"},
		{"POST", at + "/roles/guest/groups/staff/managers", adm, nil, "200", "entities.0.path=staff/managers"},
		{"GET", at + "/groups/staff/managers/rolenames", adm, nil, "200", "data.admin data.guest"},
		{"POST", at + "/groups/staff/managers/roles", adm, object{"name": "lead", "title": "Lead"}, "200", "entities.0.roleName=lead entities.0.group entities.0.inactivity=0"},
		{"GET", at + "/groups/staff/managers/roles", adm, nil, "200", "entities.2"},
		{"GET", at + "/roles", adm, nil, "200", "entities.2 !entities.3"},
		{"DELETE", at + "/groups/staff/managers/roles/admin", adm, nil, "200", "entities.0.name=admin"},
		{"PUT", at + "/groups/staff/managers/rolenames", adm, object{"name": "admin"}, "200", "data.admin"},
		{"DELETE", at + "/groups/staff/managers/rolenames/admin", adm, nil, "200", "!data.admin"},
		{"POST", at + "/groups/staff/managers/permissions", adm, object{"permission": "GET:/Books"}, "200", "data.0=get:/books entities !entities.0 !path"},
		{"DELETE", at + "/groups/staff/managers", adm, nil, "200", "entities.0.path=staff/managers"},
		{"GET", at + "/users/fresh", adm, nil, "200", ""},
	})
}

// TestExamplesOfRoles goes through sections 3 to 5 of the same.
func TestExamplesOfRoles(t *testing.T) {
	w := newWorld(t)
	adm, lee := w.acme.appToken, w.acme.user
	const at = "/acme/shop"
	const delete = "/permissions?permission="
	w.ok(call{Method: "POST", Path: at + "/groups", Token: adm, Body: object{"path": "staff"}})
	w.examples([]example{
		{"POST", at + "/roles", adm, object{"name": "reviewer", "title": "Reviewer", "inactivity": 0}, "200", "action=post path=/roles entities.0.type=role entities.0.name=reviewer entities.0.roleName=reviewer entities.0.title=Reviewer entities.0.inactivity=0 entities.0.metadata.sets.permissions entities.0.metadata.collections.groups entities.0.metadata.collections.users !entities.0.metadata.sets.rolenames"},
		{"POST", at + "/roles", adm, object{"roleName": "r1"}, "200", "entities.0.name=r1 entities.0.title=r1"},
		{"POST", at + "/roles", adm, object{"rolename": "r2"}, "200", "entities.0.name=r2"},
		{"POST", at + "/role", adm, object{"role name": "r3"}, "200", "entities.0.name=r3"},
		{"POST", at + "/roles", adm, object{"title": "x"}, "400 required_property_not_found", ""},
		{"POST", at + "/roles", adm, object{"name": "REVIEWER"}, duplicate, ""},
		{"GET", at + "/roles/Reviewer", adm, nil, "200", "entities.0.name=reviewer"},
		{"GET", at + "/roles/nothing", adm, nil, missing, ""},
		{"GET", at + "/roles/01018dc0-0000-7000-8000-000000000009", adm, nil, gone, ""},
		{"PUT", at + "/roles/reviewer", adm, object{"name": "other", "title": "T"}, "200", "entities.0.name=reviewer entities.0.title=T"},
		{"POST", at + "/roles/reviewer/users/lee", adm, nil, "200", "entities.0.username=lee"},
		{"POST", at + "/roles/reviewer/groups/staff", adm, nil, "200", "entities.0.path=staff"},
		{"GET", at + "/roles/reviewer/users", adm, nil, "200", "entities.0.username=lee"},
		{"GET", at + "/roles/users/reviewer", adm, nil, "200", "entities.0.username=lee"},
		{"GET", at + "/roles/reviewer/groups", adm, nil, "200", "entities.0.path=staff"},
		{"DELETE", at + "/roles/reviewer/users/lee", adm, nil, "200", "entities.0.username=lee"},
		{"DELETE", at + "/roles/reviewer/users/lee", adm, nil, missing, ""},
		{"DELETE", at + "/roles/reviewer/groups/staff", adm, nil, "200", "entities.0.path=staff"},
		// 5.3
		{"POST", at + "/roles/reviewer/permissions", adm, object{"permission": "get,put,post:/reviews/**"}, "200", "action=post application=" + w.acme.appID + " data.0=get,put,post:/reviews/** !data.1 entities !entities.0 !path"},
		{"PUT", at + "/roles/reviewer/permissions", adm, object{"permission": []string{"POST:/Cats", "post:/cats"}}, "200", "data.1=post:/cats !data.2"},
		{"DELETE", at + "/roles/reviewer" + delete + url.QueryEscape("get,put,post:/reviews/**"), adm, nil, "200", "data.0=post:/cats !data.1 params.permission.0=get,put,post:/reviews/**"},
		{"DELETE", at + "/roles/reviewer/permissions", adm, object{"data": []string{"post:/cats"}}, "200", "data !data.0 params.permission.0=post:/cats"},
		{"DELETE", at + "/roles/reviewer/permissions", adm, nil, arg, ""},
		// 5.6, and what a change counts from on
		{"GET", at + "/books", lee, nil, "200", ""},
		{"DELETE", at + "/roles/default", adm, nil, "200", "entities.0.name=default"},
		{"GET", at + "/books", lee, nil, denied, "error_description=Subject_does_not_have_permission_to_access_this_resource"},
		{"GET", at + "/users/me", lee, nil, "200", ""},
		{"GET", at + "/users/" + w.acme.userID, lee, nil, "200", ""},
		{"DELETE", at + "/users/me", lee, nil, denied, ""},
		{"POST", at + "/users/lee/permissions", adm, object{"permission": "get,post:/cats/*"}, "200", ""},
		{"GET", at + "/cats", lee, nil, "200", ""},
		{"GET", at + "/cat", lee, nil, "200", ""},
		{"POST", at + "/cats", lee, object{"name": "fluffy"}, "200", ""},
		{"GET", at + "/cats/fluffy", lee, nil, "200", ""},
		{"GET", at + "/cats/fluffy/likes", lee, nil, denied, ""},
		{"PUT", at + "/cats/fluffy", lee, object{"x": 1}, denied, ""},
		{"POST", at + "/users/lee/permissions", adm, object{"permission": "put:/cats/*"}, "200", ""},
		{"PUT", at + "/cats/fluffy", lee, object{"x": 1}, "200", ""},
		{"PUT", at + "/cats?ql=", lee, object{"x": 1}, denied, ""},
		{"POST", at + "/roles/reviewer/permissions", adm, object{"permission": "get,put:/users/${user}/**"}, "200", ""},
		{"POST", at + "/users/lee/groups/staff", adm, nil, "200", ""},
		{"POST", at + "/groups/staff/roles/reviewer", adm, nil, "200", ""},
		{"PUT", at + "/users/lee", lee, object{"city": "Oslo"}, "200", ""},
		{"PUT", at + "/users/me", lee, object{"city": "Oslo"}, "200", ""},
		{"PUT", at + "/users/" + w.acme.userID, lee, object{"city": "Oslo"}, "200", ""},
		{"GET", at + "/users/lee/likes", lee, nil, "200", ""},
		{"GET", at + "/users", lee, nil, denied, ""},
		{"DELETE", at + "/users/lee/groups/staff", adm, nil, "200", ""},
		{"PUT", at + "/users/lee", lee, object{"city": "Oslo"}, denied, ""},
		{"POST", at + "/groups/staff/permissions", adm, object{"permission": "get:/dogs"}, "200", ""},
		{"GET", at + "/dogs", lee, nil, denied, ""},
		{"POST", at + "/groups/staff/users/lee", adm, nil, "200", ""},
		{"GET", at + "/dogs", lee, nil, "200", ""},
		// guests
		{"POST", at + "/users", "", object{"username": "guest1"}, "200", ""},
		{"POST", at + "/user", "", object{"username": "guest2"}, "200", ""},
		{"GET", at + "/users", "", nil, denied, ""},
		{"PUT", at + "/devices/01018dc0-0000-7000-8000-000000000005", "", object{"name": "d"}, "200", ""},
		{"PUT", at + "/devices?ql=", "", object{"x": 1}, denied, ""},
		{"DELETE", at + "/roles/guest", adm, nil, "200", ""},
		{"POST", at + "/users", "", object{"username": "guest3"}, denied, "error_description=No_application_guest_access_authorized"},
		{"POST", at + "/resetroles", adm, nil, "200", "data.guest=Guest data.default=Default data.admin=Administrator"},
		{"POST", at + "/users", "", object{"username": "guest3"}, "200", ""},
		{"GET", at + "/books", lee, nil, "200", ""},
		{"GET", "/other/shop/books", lee, nil, denied, ""},
		{"GET", "/" + w.acme.id + "/" + w.acme.appID + "/books", lee, nil, "200", ""},
		{"GET", "/" + w.acme.appID + "/books", lee, nil, "200", ""},
	})
}
