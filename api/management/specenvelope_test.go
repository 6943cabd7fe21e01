package management_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// TestExamplesOfEnvelopes goes through spec envelope-and-errors.
func TestExamplesOfEnvelopes(t *testing.T) {
	w := newWorld(t)
	acme := &w.acme
	const rest, persistence = "org.apache.usergrid.rest.exceptions.", "org.apache.usergrid.persistence.exceptions."
	made := w.ok(call{Method: "POST", Path: "/acme/shop/books", Token: acme.owner, Body: object{"name": "dune"}})
	id := made.Str("entities", 0, "uuid")
	w.ok(call{Method: "POST", Path: "/acme/shop/books", Token: acme.owner, Body: object{"name": "emma"}})
	w.ok(call{Method: "POST", Path: "/acme/shop/books", Token: acme.owner, Body: object{"name": "ivanhoe"}})
	book := "action=get application=" + acme.appID + " params path=/books uri=" + w.URL + "/acme/shop/books entities.0.type=book entities.0.metadata.path=/books/" + id + " timestamp duration organization=acme applicationName=shop"
	everywhere := "error timestamp duration error_description"
	w.examples([]example{
		// 1
		{"GET", "/ACME/Shop/Books/dune/", acme.owner, nil, "200", book + " !count !cursor"},
		{"GET", "/orgs/acme/shop/books/dune", acme.owner, nil, "200", book},
		{"GET", "/organizations/acme/shop/books/dune", acme.owner, nil, "200", book},
		{"GET", "/o/acme/shop/books/dune", acme.owner, nil, "200", book},
		{"GET", "/acme/apps/shop/books/dune", acme.owner, nil, "200", book},
		{"GET", "/acme/applications/shop/books/dune", acme.owner, nil, "200", book},
		{"GET", "/acme/a/shop/books/dune", acme.owner, nil, "200", book},
		{"GET", "/" + acme.id + "/" + acme.appID + "/books/dune", acme.owner, nil, "200", book},
		{"GET", "/apps/" + acme.appID + "/books/dune", acme.owner, nil, "200", book},
		{"GET", "/applications/" + acme.appID + "/books/dune", acme.owner, nil, "200", book},
		{"GET", "/" + acme.appID + "/books/dune", acme.owner, nil, "200", book},
		{"POST", "/management/orgs", "", object{"organization": "System", "email": "x@example.org"}, arg, ""},
		{"POST", "/management/orgs", "", object{"organization": "testproperties", "email": "x@example.org"}, arg, ""},
		{"POST", "/acme/shop/books", acme.owner, object{"name": "config.json"}, "200", ""},
		{"GET", "/acme/shop/books/config.json", acme.owner, nil, "200", "entities.0.name=config.json"},
		{"DELETE", "/acme/shop/books/config.json", acme.owner, nil, "200", ""},
		{"PATCH", "/acme/shop/books/dune", acme.owner, object{}, "405 not_allowed", ""},
		// 2
		{"GET", "/acme/shop/books?limit=2", acme.owner, nil, "200", "params.limit.0=2 count=2 cursor entities.1 !entities.2 !list !data"},
		{"GET", "/acme/shop/books?limit=1000", acme.owner, nil, "200", "count=3 !cursor"},
		{"GET", "/acme/shop/nothings", acme.owner, nil, "200", "entities !entities.0"},
		{"PUT", "/acme/shop/books/dune", acme.owner, object{"x": 1}, "200", "action=put entities.0.x=1 !count path=/books"},
		{"POST", "/acme/shop/roles/guest/permissions", acme.owner, object{"permission": "get:/books/**"}, "200", "action=post params uri=" + w.URL + "/acme/shop entities !entities.0 data.0=get:/books/** data.3 !path"},
		{"GET", "/acme/shop/books?ql=select+name&limit=1", acme.owner, nil, "200", "list.0 count=1 entities.0"},
		{"GET", "/acme/shop/books?client_id=&token=t&username=u&password=p&fb_access_token=f&fq_access_token=f&ping_access_token=p&Client_Credentials=c&a=b&a=c", acme.owner, nil, "200", "params.a.0=b params.a.1=c !params.token !params.username !params.password !params.fb_access_token !params.fq_access_token !params.ping_access_token !params.Client_Credentials !params.client_id"},
		// 4: the rows that others do not show
		{"GET", "/acme/nope/books", "", nil, "404 organization_application_not_found", everywhere + " exception=" + rest + "OrganizationApplicationNotFoundException !status"},
		{"GET", "/nope/nope/books", acme.owner, nil, "404 organization_application_not_found", ""},
		{"GET", "/acme/nope", "BADTOKEN", nil, "401 auth_bad_access_token", everywhere},
		{"GET", "/management/orgs/nope", "", nil, unknown, everywhere + " exception=org.apache.usergrid.management.exceptions.ManagementException"},
		{"GET", "/management/users/nope", "", nil, unknown, "error_description=Could_not_find_user_for_username:_nope"},
		{"GET", "/management/orgs/acme/apps/nope", acme.owner, nil, gone, "exception=" + persistence + "EntityNotFoundException"},
		{"GET", "/acme/shop/users/nope", acme.owner, nil, missing, "exception=org.apache.usergrid.services.exceptions.ServiceResourceNotFoundException"},
		{"GET", "/acme/shop/books/nope", acme.owner, nil, gone, ""},
		{"DELETE", "/acme/shop/books/nope", acme.owner, nil, missing, ""},
		{"GET", "/management/nope", acme.owner, nil, "404 not_found", "exception=javax.ws.rs.NotFoundException"},
		{"GET", "/acme", acme.owner, nil, "405 not_allowed", "exception=javax.ws.rs.NotAllowedException"},
		{"DELETE", "/acme/shop/books", acme.owner, nil, "405 unsupported_service_operation", "exception=org.apache.usergrid.services.exceptions.UnsupportedServiceOperationException"},
		{"DELETE", "/acme/shop", acme.owner, nil, "405 unsupported_rest_operation", "exception=" + rest + "UnsupportedRestOperationException"},
		{"DELETE", "/management/orgs/acme", "", nil, "501 not_implemented", "exception=org.apache.commons.lang.NotImplementedException"},
		{"POST", "/acme/shop/books", acme.owner, object{"name": "DUNE"}, duplicate, "exception=" + persistence + "DuplicateUniquePropertyExistsException"},
		{"POST", "/management/orgs/acme/apps", acme.owner, object{"name": "shop"}, "409 application_already_exists", "exception=" + persistence + "ApplicationAlreadyExistsException"},
		{"POST", "/acme/shop/users", acme.owner, object{}, "400 required_property_not_found", "exception=" + persistence + "RequiredPropertyNotFoundException"},
		{"POST", "/acme/shop/books", acme.owner, "{\"a\":", "400 json_parse", "exception=com.fasterxml.jackson.core.JsonParseException"},
		{"PUT", "/acme/shop/books/dune", acme.owner, "[]", "400 json_mapping", ""},
		{"GET", "/acme/shop/books?ql=select+*+where+", acme.owner, nil, "400 query_parse", "exception=org.apache.usergrid.persistence.index.exceptions.QueryParseException"},
		{"GET", "/acme/shop/books?ql=a+%3D+%23", acme.owner, nil, "400 query_token", "exception=org.apache.usergrid.persistence.index.exceptions.QueryTokenException"},
		{"GET", "/acme/shop/books?callback=a%28b", acme.owner, nil, arg, ""},
		// 7.1
		{"POST", "/acme/shop/token?grant_type=password", "", encode("username", "lee", "password", "pw4lee"), "200", "access_token"},
		// 8
		{"GET", "/status", "", nil, "200", "timestamp duration status.started status.uptime status.version status.cassandraAvailable=true status.cassandraStatus=GREEN status.managementAppIndexStatus=GREEN"},
		{"GET", "/status/heap", "", nil, "200", "status.used status.free status.allocated status.max"},
		{"GET", "/status/queue", "", nil, "200", "status.provider=LOCAL status.depth=0"},
		{"GET", "/lb-status", "", nil, "200", ""},
		{"GET", "/acme/shop/status", "", nil, "200", ""},
		{"GET", "/acme/nope/status", "", nil, "404 organization_application_not_found", ""},
		{"GET", "/testproperties", "", nil, "405 not_allowed", ""},
		{"POST", "/testproperties", "", object{"a": 1}, "405 not_allowed", ""},
	})
	if a := w.do(call{Path: "/"}); a.Status != 307 || !strings.HasSuffix(a.Header.Get("Location"), "/status") {
		t.Errorf("%d %v", a.Status, a.Header)
	}
	// 4.1 and 7.3
	wrapped := regexp.MustCompile(`(?s)^f\(\{.*\}\)$`)
	for _, path := range []string{"/acme/shop/books/dune?callback=f", "/acme/shop/books/nope?callback=f", "/management/token?callback=f", "/nope/nope?callback=f"} {
		if a := w.do(call{Path: path, Token: acme.owner}); a.Status != 200 && path != "/management/token?callback=f" || !wrapped.MatchString(a.Text) || a.Header.Get("Content-Type") != "application/javascript" {
			t.Errorf("%s: %d %s %s", path, a.Status, a.Header.Get("Content-Type"), a.Text)
		}
	}
	// 7.1 and 7.2: whatever a client says of its body, and asks for.
	for _, kind := range []string{formType, "text/plain", "application/json; charset=iso-8859-1", "application/vnd.x+json"} {
		a := w.do(call{Method: "POST", Path: "/acme/shop/notes", Token: acme.owner, Type: kind, Body: ` {"name":""}`, Header: map[string]string{"Accept": "text/html"}})
		if a.Status != 200 || a.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %s", kind, a.Status, a.Text)
		}
	}
	w.refused("415 not_supported", call{Method: "POST", Path: "/acme/shop/notes", Token: acme.owner, Type: "text/plain", Body: "hello"})
	// 6
	preflight := call{Method: http.MethodOptions, Path: "/nope/nope/books", Token: "BADTOKEN", Header: map[string]string{
		"Origin": "https://portal.example.org", "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "authorization"}}
	a := w.do(preflight)
	for name, want := range map[string]string{
		"Access-Control-Allow-Origin": "https://portal.example.org", "Access-Control-Allow-Credentials": "true", "Access-Control-Allow-Methods": "PUT", "Access-Control-Allow-Headers": "authorization",
	} {
		if a.Status != 200 || a.Text != "" || a.Header.Get(name) != want {
			t.Errorf("%d %q %s: %s", a.Status, a.Text, name, a.Header.Get(name))
		}
	}
	for _, c := range []struct{ origin, referer, allowed, credentials string }{
		{"https://a.example", "", "https://a.example", "true"}, {"", "https://b.example/page?x", "https://b.example", "true"}, {"", "", "*", ""}, {"null", "", "*", ""},
	} {
		header := map[string]string{}
		if c.origin != "" {
			header["Origin"] = c.origin
		}
		if c.referer != "" {
			header["Referer"] = c.referer
		}
		for _, path := range []string{"/acme/shop/books", "/management/token", "/nope/nope"} {
			if a := w.do(call{Path: path, Header: header}); a.Header.Get("Access-Control-Allow-Origin") != c.allowed || a.Header.Get("Access-Control-Allow-Credentials") != c.credentials {
				t.Errorf("%s from %q, %q: %v", path, c.origin, c.referer, a.Header)
			}
		}
	}
	// 2.4: an envelope of /management says nothing of an application.
	w.examples([]example{{"PUT", "/management/orgs/acme/users/otherowner", acme.owner, nil, "200", "action=add_user_to_organization status=ok data.user.username=otherowner timestamp duration !application !params !organization !entities"}})
}
