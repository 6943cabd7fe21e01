package management_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/trellisdb/trellis/api/apitest"
)

// example is a request of a specification and what must be so of its answer: "a.b.0=x", a
// value as it prints; "a.b", there is something; "!a.b", there is nothing.
type example struct {
	method, path, token string
	body                any
	want                string // as answer.Error tells it
	holds               string // facts, separated by spaces
}

// examples runs examples in order.
func (w *world) examples(list []example) {
	w.t.Helper()
	for _, e := range list {
		kind := ""
		if text, ok := e.body.(string); ok && text != "" && text[0] != '{' && text[0] != '[' {
			kind = formType
		}
		a := w.do(call{Method: e.method, Path: e.path, Token: e.token, Body: e.body, Type: kind})
		if a.Error() != e.want {
			w.t.Errorf("%s %s %v: %s, want %s\n%s", e.method, e.path, e.body, a.Error(), e.want, a.Text)
			continue
		}
		for fact := range strings.FieldsSeq(e.holds) {
			if !a.holds(fact) {
				w.t.Errorf("%s %s %v: not so: %s\n%s", e.method, e.path, e.body, fact, a.Text)
			}
		}
	}
}

// holds reports whether a fact of an example is so. An underscore in a value is a space.
func (a answer) holds(fact string) bool {
	name, value, compared := strings.Cut(fact, "=")
	absent := strings.HasPrefix(name, "!")
	var path []any
	for step := range strings.SplitSeq(strings.TrimPrefix(name, "!"), ".") {
		if i, err := strconv.Atoi(step); err == nil {
			path = append(path, i)
		} else {
			path = append(path, step)
		}
	}
	switch got := a.Get(path...); {
	case absent:
		return got == nil
	case compared:
		return strings.ReplaceAll(fmt.Sprint(got), " ", "_") == value
	default:
		return got != nil
	}
}

const duplicate = "400 duplicate_unique_property_exists"

// TestExamplesOfManagement goes through spec management.
func TestExamplesOfManagement(t *testing.T) {
	w := begin(t, t.TempDir(), nil)
	super := w.login(apitest.SuperuserName, apitest.SuperuserPassword)
	w.examples([]example{
		{"POST", "/management/orgs", "", object{"organization": "acme", "username": "dana", "name": "Dana Roe", "email": "dana@example.org", "password": "s3same", "company": "Acme", "deep": object{"password": "x", "a": 1}}, "200",
			"action=new_organization status=ok data.owner.applicationId=00000000-0000-0000-0000-000000000001 data.owner.username=dana data.owner.name=Dana_Roe data.owner.email=dana@example.org data.owner.activated=true data.owner.confirmed=true data.owner.disabled=false data.owner.adminUser=true data.owner.properties.company=Acme !data.owner.properties.deep.password data.owner.properties.deep.a=1 data.owner.displayEmailAddress=Dana_Roe_<dana@example.org> data.organization.name=acme data.organization.uuid data.organization.passwordHistorySize=0 data.organization.properties timestamp duration !application !params !entities"},
		{"POST", "/management/organizations", "", "organization=formed&email=formed%40example.org&password=s3same&properties=x", "200", "data.owner.username=formed@example.org data.owner.name=formed@example.org data.owner.displayEmailAddress=formed@example.org_<formed@example.org>"},
		{"POST", "/management/orgs?organization=q&email=q@example.org", "", nil, arg, "!data"},
		{"POST", "/management/orgs?username=querier", "", "organization=byquery&email=q@example.org&password=s3same", "200", "data.owner.username=querier"},
		{"POST", "/management/orgs", "", object{"email": "x@example.org"}, arg, "error_description=The_organization_parameter_was_missing"},
		{"POST", "/management/orgs", "", object{"organization": "x"}, arg, ""},
		{"POST", "/management/orgs", "", object{"organization": "x", "email": "x@example.org", "username": "ME"}, arg, ""},
		{"POST", "/management/orgs", "", object{"organization": "x", "email": "x@example.org", "password": "abc"}, "400 error_password_policy_violation", "!exception error_description=error_length_policy:_must_be_at_least_4_characters"},
		{"POST", "/management/orgs", "", object{"organization": "ACME", "email": "x@example.org", "password": "s3same"}, duplicate, ""},
		{"POST", "/management/orgs", "", object{"organization": "x", "username": "DANA", "email": "x@example.org", "password": "s3same"}, duplicate, ""},
		{"POST", "/management/orgs", "", object{"organization": "x", "username": "x", "email": "DANA@example.org", "password": "s3same"}, duplicate, ""},
		{"GET", "/management/orgs/x", super, nil, unknown, ""},
		{"POST", "/management/orgs", super, object{"organization": "danas", "email": "dana@example.org"}, "200", "data.owner.username=dana"},
		{"POST", "/management/orgs", super, object{"organization": "nobodys", "email": "nobody@example.org"}, arg, ""},
		{"POST", "/management/orgs", "", object{"organization": "random", "email": "random@example.org", "password": " "}, "200", ""},
		{"DELETE", "/management/orgs", "", nil, "405 not_allowed", ""},
		{"GET", "/management/orgs?limit=2", super, nil, "200", "organizations.0.name organizations.1.uuid organizations.0.applications organizations.0.properties !organizations.2 count=2 cursor !action"},
		{"GET", "/management/orgs?limit=5000", super, nil, "200", "!cursor"},
		{"GET", "/management/orgs", "", nil, "401 unauthorized", "error_description=No_system_access_authorized"},
	})
	dana := w.login("dana@example.org", "s3same")
	shop := w.ok(call{Method: "POST", Path: "/management/orgs/acme/apps", Token: dana, Body: object{"name": "Acme/Shop", "other": 1}})
	for _, fact := range strings.Fields("action=new_application_for_organization data.acme/shop entities.0.uuid entities.0.type=application entities.0.name=acme/shop entities.0.created entities.0.modified entities.0.organizationName=acme entities.0.applicationName=shop entities.0.metadata.collections.users.title=Users entities.0.metadata.collections.users.count=0 entities.0.metadata.collections.roles.count=3 entities.0.metadata.collections.roles.type=role entities.0.metadata.collections.activities entities.0.metadata.collections.assets entities.0.metadata.collections.devices entities.0.metadata.collections.events entities.0.metadata.collections.folders entities.0.metadata.collections.groups entities.0.metadata.collections.notifications !uri !entities.0.other") {
		if !shop.holds(fact) {
			t.Errorf("a new application: not so: %s\n%s", fact, shop.Text)
		}
	}
	shopID := shop.Str("entities", 0, "uuid")
	w.examples([]example{
		{"GET", "/management/orgs/ACME/", dana, nil, "200", "!action organization.name=acme organization.passwordHistorySize=0 organization.applications.acme/sandbox organization.applications.acme/shop=" + shopID + " organization.users.dana.username=dana organization.users.dana.adminUser=true !organization.users.dana.organizations"},
		{"PUT", "/management/orgs/acme", dana, object{"properties": object{"plan": "gold", "city": "Oslo"}, "name": "other"}, "200", "action=put params"},
		{"PUT", "/management/orgs/acme", dana, object{"properties": object{"city": ""}}, "200", "action=put"},
		{"PUT", "/management/orgs/acme", dana, object{}, "200", "action=put"},
		{"GET", "/management/orgs/acme", dana, nil, "200", "organization.properties.plan=gold !organization.properties.city organization.name=acme"},
		{"GET", "/management/orgs/acme/activate?token=x", "", nil, arg, "error_description=activation_token_invalid_or_expired"},
		{"GET", "/management/orgs/acme/confirm?token=x", "", nil, arg, ""},
		{"GET", "/management/orgs/acme/reactivate", "", nil, "200", "action=reactivate_organization"},
		{"GET", "/management/orgs/acme/feed", dana, nil, "200", "action=get_organization_feed status=ok entities.0.verb=create entities.0.object.objectType=Application entities.0.object.entityType=application_info entities.0.object.displayName=shop entities.0.object.uuid=" + shopID + " entities.0.actor.displayName=Dana_Roe entities.0.actor.objectType=person entities.0.actor.entityType=user entities.0.category=admin entities.0.published entities.0.metadata.path entities.1.object.objectType=Organization entities.1.object.entityType=group entities.1.object.displayName=acme !entities.2"},
		{"GET", "/management/orgs/acme/credentials", dana, nil, "200", "action=get_organization_client_credentials credentials.client_id credentials.client_secret"},
		{"POST", "/management/orgs/acme/credentials", dana, nil, "200", "action=generate_organization_client_credentials credentials.client_id credentials.client_secret"},
		{"POST", "/management/orgs/credentials", dana, nil, "405 not_allowed", ""},
		{"DELETE", "/management/orgs/acme", "", nil, "501 not_implemented", ""},
		{"GET", "/management/orgs/acme/config", super, nil, "200", "action=get_organization_configuration configuration"},
		{"GET", "/management/orgs/acme/config?separate_defaults=true", super, nil, "200", "orgConfiguration defaults !configuration"},
		{"PUT", "/management/orgs/acme/config", super, object{"usergrid.rest.default-connection-param": "none"}, "200", "action=put_organization_configuration"},
		{"PUT", "/management/orgs/acme/config", super, object{"usergrid.other": "none"}, arg, ""},
		{"GET", "/management/orgs/acme/users", dana, nil, "200", "action=get_organization_users data.0.username=dana !data.1"},
		{"POST", "/management/orgs/acme/users", dana, object{"email": "kim@example.org", "password": ""}, "200", "action=create_user status=ok data.user.username=kim@example.org data.user.name=kim@example.org"},
		{"POST", "/management/orgs/acme/users", dana, object{"email": "kim@example.org", "name": "ignored"}, "200", "data.user.name=kim@example.org"},
		{"POST", "/management/orgs/acme/users", dana, object{"email": "kim@example.org", "invite": false}, duplicate, ""},
		{"POST", "/management/orgs/acme/users", dana, object{"name": "x"}, arg, ""},
		{"POST", "/management/users", "", object{"username": "lou", "email": "lou@example.org", "password": "lou-s3same", "x": 1}, "200", "action=create_user status=ok data.user.username=lou data.user.properties.x=1"},
		{"GET", "/management/users", "", nil, "405 not_allowed", ""},
		{"POST", "/management/users", "", object{"username": "nomail"}, arg, "error_description=email_form_parameter_is_required"},
		{"PUT", "/management/orgs/acme/users/LOU", dana, object{"city": "Oslo"}, "200", "action=add_user_to_organization status=ok data.user.username=lou"},
		{"PUT", "/management/orgs/acme/users/lou", dana, object{"city": "Oslo"}, "401 unauthorized", "error_description=No_admin_user_access_authorized"},
		{"PUT", "/management/orgs/acme/users/lou", dana, nil, "200", "action=add_user_to_organization"},
		{"PUT", "/management/orgs/acme/users/dana", dana, object{"city": "Oslo"}, "200", "action=update_user_info !data"},
		{"PUT", "/management/orgs/acme/users/nobody", dana, nil, unknown, ""},
		{"PUT", "/management/orgs/acme/users/nobody@example.org", dana, nil, unknown, ""},
		{"GET", "/management/orgs/acme/users/lou", dana, nil, "200", "data.organizations.acme !data.token"},
		{"DELETE", "/management/orgs/acme/users/lou@example.org", dana, nil, "200", "action=remove_user_from_organization status=ok data.user.username=lou"},
		{"DELETE", "/management/orgs/acme/users/lou", dana, nil, "200", ""},
		{"DELETE", "/management/orgs/acme/users/nobody", dana, nil, unknown, ""},
		{"DELETE", "/management/orgs/acme/users/kim@example.org", dana, nil, "200", ""},
		{"DELETE", "/management/orgs/acme/users/dana", dana, nil, "400 unable_to_leave_organization", ""},
		{"GET", "/management/users/dana@example.org", dana, nil, "200", "action=get_admin_user status=ok data.token data.uuid data.properties.company=Acme data.properties.city=Oslo data.organizations.acme.uuid data.organizations.acme.applications.acme/sandbox data.organizations.acme.users.dana data.organizations.danas"},
		{"GET", "/management/users/dana?shallow=true", dana, nil, "200", "data.organizations.acme.name=acme !data.organizations.acme.users !data.organizations.acme.applications"},
		{"GET", "/management/users/nobody", "", nil, unknown, ""},
		{"PUT", "/management/users/dana/", dana, object{"name": "D", "city": nil}, "200", "action=update_user_info"},
		{"PUT", "/management/users/dana", dana, nil, arg, ""},
		{"PUT", "/management/users/dana", dana, object{"username": "me"}, arg, ""},
		{"PUT", "/management/users/dana/password", "", object{"oldpassword": "wrong", "newpassword": "next-s3same"}, "400 auth_invalid_username_or_password", ""},
		{"PUT", "/management/users/dana/password", "", object{"newpassword": "next-s3same"}, arg, ""},
		{"POST", "/management/users/dana/password", "", object{"password": "s3same", "newpassword": "abc"}, "400 error_password_policy_violation", ""},
		{"POST", "/management/users/dana/password", "", "password=s3same&newpassword=next-s3same", "200", "action=set_user_password"},
		{"PUT", "/management/orgs/acme/users/dana/password", super, object{"password": "s3same"}, "200", "action=set_user_password"},
		{"PUT", "/management/users/dana/password", dana, object{"password": "x-s3same"}, arg, ""},
		{"POST", "/management/users/resetpw", "", object{"email": "dana"}, "200", "action=reset_user_password"},
		{"POST", "/management/users/nobody/resetpw", "", object{}, unknown, ""},
		{"GET", "/management/users/dana/activate?token=x", "", nil, arg, ""},
		{"GET", "/management/users/dana/reactivate", "", nil, "200", "action=reactivate_user"},
		{"GET", "/management/users/dana/feed", dana, nil, "200", "action=get_admin_user_feed status=ok entities.0.verb=create"},
		{"GET", "/management/users/dana/orgs", dana, nil, "200", "action=get_user_management data.acme data.danas"},
		{"POST", "/management/users/dana/organizations", dana, object{"organization": "third"}, "200", "action=new_organization_for_user data.name=third data.uuid"},
		{"GET", "/third/sandbox", dana, nil, "200", "entities.0.name=third/sandbox"},
		{"POST", "/management/users/dana/organizations", dana, object{}, unknown, "error_description=Organization_not_specified."},
		{"PUT", "/management/users/lou/organizations/third", dana, nil, "200", "action=add_user_to_organization data.name=third"},
		{"DELETE", "/management/users/lou/orgs/third", dana, nil, "200", "action=remove_user_from_organization data.name=third"},
		{"DELETE", "/management/users/dana/orgs/third", dana, nil, "400 unable_to_leave_organization", ""},
		{"GET", "/management/orgs/acme/apps", dana, nil, "200", "action=get_organization_application data.acme/sandbox data.acme/shop"},
		{"GET", "/management/orgs/acme/apps?deleted=true", dana, nil, "200", "data !data.acme/shop"},
		{"POST", "/management/orgs/acme/apps", dana, object{"name": ""}, arg, ""},
		{"POST", "/management/orgs/acme/apps", dana, object{"name": "other/x"}, arg, ""},
		{"POST", "/management/orgs/acme/apps", dana, object{"name": "SHOP"}, "409 application_already_exists", ""},
		{"POST", "/management/orgs/acme/apps", dana, object{"name": "a b"}, arg, ""},
		{"POST", "/management/orgs/acme/apps", "", object{"name": "tokened", "access_token": dana}, "200", "data.acme/tokened"},
		{"GET", "/management/orgs/acme/apps/shop", dana, nil, "200", "action=get application=" + shopID + " params uri entities.0.uuid=" + shopID + " organization=acme applicationName=shop"},
		{"GET", "/management/orgs/acme/apps/nope", dana, nil, gone, ""},
		{"GET", "/management/orgs/third/apps/" + shopID, dana, nil, gone, ""},
		{"DELETE", "/management/orgs/acme/apps/shop", dana, nil, arg, ""},
		{"DELETE", "/management/orgs/acme/apps/shop?confirm_application_identifier=shops", dana, nil, arg, ""},
		{"GET", "/management/orgs/acme/apps/shop/credentials", dana, nil, "200", "action=get_application_client_credentials credentials.client_id"},
		{"POST", "/management/orgs/acme/apps/shop/credentials", dana, nil, "200", "action=generate_application_client_credentials credentials.client_secret"},
		{"GET", "/acme/shop/credentials", dana, nil, "200", "action=get_application_keys status=ok credentials.client_id"},
		{"POST", "/acme/shop/credentials", dana, nil, "200", "action=generate_application_keys status=ok credentials.client_secret"},
		{"GET", "/acme/sandbox/credentials", "", nil, "401 unauthorized", ""},
		{"GET", "/management/orgs/acme/apps/shop/status", dana, nil, "200", "status=ok"},
		{"DELETE", "/management/orgs/acme/apps/" + shopID + "?confirm_application_id=" + shopID, dana, nil, "200", "action=delete application=" + shopID + " params.confirm_application_id.0=" + shopID + " organization=acme applicationName=shop"},
		{"DELETE", "/management/orgs/acme/apps/" + shopID + "?confirm_application_identifier=" + shopID, dana, nil, gone, ""},
		{"GET", "/acme/shop/users", dana, nil, "404 organization_application_not_found", ""},
		{"GET", "/management/orgs/acme/apps?deleted=true", dana, nil, "200", "data.acme/shop=" + shopID},
		{"GET", "/apps?deleted=true", super, nil, "200", "action=get_applications status=ok applications.acme/shop"},
		{"PUT", "/management/orgs/acme/apps/" + shopID, dana, nil, "200", "action=restore application=" + shopID + " params organization=acme applicationName=shop"},
		{"GET", "/apps", super, nil, "200", "applications.acme/shop=" + shopID},
		{"GET", "/applications", dana, nil, "401 unauthorized", ""},
		{"PUT", "/system/database/setup", super, nil, "200", "action=cassandra_setup status=ok"},
		{"PUT", "/system/database/bootstrap", super, nil, "200", "action=cassandra_setup status=ok"},
		{"PUT", "/system/superuser/setup", super, nil, "200", "action=superuser_setup status=ok"},
		{"GET", "/system/migrate/status", super, nil, "200", ""},
		{"PUT", "/system/migrate/run/x", super, nil, "200", ""},
		{"POST", "/system/index/rebuild", super, nil, "200", "action=rebuild_indexes jobId status=COMPLETE lastUpdateTime numberQueued=0 numberProcessed=0"},
		{"POST", "/system/index/rebuild/management", super, nil, "200", "status=COMPLETE"},
		{"GET", "/system/queue/size", super, nil, "200", "action=get_queue_depth data.queueDepth=0"},
		{"POST", "/system/connection/dedup/" + shopID, super, nil, "200", "data.jobId data.status=COMPLETE"},
	})
}
