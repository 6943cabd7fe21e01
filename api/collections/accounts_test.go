package collections_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/trellisdb/trellis/api/apitest"
)

// commands make a request that answers as commands of users do: action, and nothing of
// an application.
func (r *rest) command(method, path, body, action string) apitest.Answer {
	r.Helper()
	a := r.do(method, path, body)
	if a.Status != 200 || a.Fields["action"] != action || a.Fields["path"] != nil || a.Fields["application"] != nil {
		r.Errorf("%s %s: %d %s, want %s", method, path, a.Status, a.Body, action)
	}
	return a
}

// super makes a request as the superuser, by Basic authentication.
func (r *rest) super(method, path, body string) apitest.Answer {
	r.Helper()
	req, err := http.NewRequest(method, r.URL+r.App+path, strings.NewReader(body))
	if err != nil {
		r.Fatal(err)
	}
	req.SetBasicAuth(apitest.SuperuserName, apitest.SuperuserPassword)
	a, err := r.Send(req)
	if err != nil {
		r.Fatal(err)
	}
	return a
}

func TestDeactivate(t *testing.T) {
	s := newStrict(t)
	s.grant("post:/users/bo/deactivate", "get:/items")
	s.mayNot("POST /users/ana/deactivate", "POST /users/me/deactivate")
	a := s.ana.command("POST", "/users/BO/deactivate", "", "Deactivate user")
	e := a.Entity()
	if e["username"] != "bo" || e["activated"] != false || number(e["deactivated"]) < 1e12 || e["metadata"] == nil {
		t.Errorf("%s", a.Body)
	}
	s.bo.fails("GET", "/users/me", "", 401, "auth_invalid")
	if a, err := s.bo.Do("POST", "/acme/shop/token", "", `{"grant_type":"password","username":"bo","password":"sunny-day-1"}`); err != nil || a.Code() != "invalid_grant" || a.Fields["error_description"] != "user not activated" {
		t.Errorf("%v %s", err, a.Body)
	}
	s.ana.ok("GET", "/items", "") // hers stand
	a = s.admin.ok("PUT", "/users/bo", `{"activated":true}`)
	if a.Entity()["deactivated"] != nil {
		t.Errorf("%s", a.Body)
	}
	s.bo.fails("GET", "/users/me", "", 401, "auth_invalid") // what was revoked stays so
	s.guest.login("/acme/shop", "bo", "sunny-day-1")
	s.admin.fails("POST", "/users/none/deactivate", "", 404, "service_resource_not_found")
	s.admin.fails("GET", "/users/bo/deactivate", "", 405, "unsupported_service_operation")
	s.admin.fails("PUT", "/users/bo/deactivate/x", "{}", 405, "unsupported_service_operation")
	s.guest.fails("POST", "/users/bo/deactivate", "", 401, "unauthorized")
}

func TestPins(t *testing.T) {
	r := newRest(t)
	sent := func(pin string) {
		t.Helper()
		if got := r.Mails.Take(t, "user-pin", "ana@example.test"); !strings.Contains(got.Text, pin) {
			t.Errorf("sent %s, want %s", got.Text, pin)
		}
	}
	ana := uuidOf(t, r.ok("POST", "/users", `{"username":"ana","email":"ana@example.test","pin":1234}`))
	r.ok("POST", "/users", `{"username":"bo"}`)
	r.command("GET", "/users/ana/sendpin", "", "retrieve user pin")
	sent("1234")
	r.command("POST", "/users/ana/setpin", `{"pin":"7777"}`, "set user pin")
	r.command("POST", "/users/"+ana+"/sendpin", "", "retrieve user pin")
	sent("7777")
	if a := r.command("GET", "/users/ana/setpin?pin=8888", "", "set user pin"); strings.Contains(a.Body, "8888") {
		t.Errorf("%s", a.Body)
	}
	if status, _, text := r.send("POST", r.App+"/users/ana/setpin", "pin=9999", "Content-Type", "application/x-www-form-urlencoded"); status != 200 || strings.Contains(text, "9999") {
		t.Errorf("a form: %d %s", status, text)
	}
	r.command("GET", "/users/ana/sendpin", "", "retrieve user pin")
	sent("9999")
	r.ok("PUT", "/users/ana", `{"pin":"0000"}`) // dropped
	r.command("GET", "/users/ana/sendpin", "", "retrieve user pin")
	sent("9999")
	r.fails("GET", "/users/bo/sendpin", "", 404, "service_resource_not_found")
	r.fails("GET", "/users/none/sendpin", "", 404, "service_resource_not_found")
	r.fails("POST", "/users/ana/setpin", `{}`, 400, "illegal_argument")
	r.fails("POST", "/users/ana/setpin", `{"pin":"`+strings.Repeat("1", 200)+`"}`, 400, "illegal_argument")
	r.fails("PUT", "/users/ana/setpin", `{"pin":"1"}`, 405, "unsupported_service_operation")
	if body := r.ok("GET", "/users/ana", "").Body; strings.Contains(body, "pin") {
		t.Errorf("%s", body)
	}
}

// TestTransferOfCredentials is spec users-groups-roles section 1.12.
func TestTransferOfCredentials(t *testing.T) {
	r := newRest(t)
	r.ok("POST", "/users", `{"username":"ana","password":"sunny-day-1"}`)
	r.ok("POST", "/users", `[{"username":"bo"},{"username":"cy"}]`)
	a := r.super("GET", "/users/ana/credentials", "")
	c, _ := a.Fields["credentials"].(map[string]any)
	if a.Status != 200 || a.Fields["action"] != "get user credentials" || c["recoverable"] != false || c["encrypted"] != true || c["cipher"] != "bcrypt" || number(c["createDate"]) < 1e12 {
		t.Fatalf("%s", a.Body)
	}
	back, err := json.Marshal(map[string]any{"credentials": c})
	if err != nil {
		t.Fatal(err)
	}
	if a := r.super("PUT", "/users/bo/credentials", string(back)); a.Status != 200 {
		t.Errorf("%s", a.Body)
	}
	r.login(r.App, "bo", "sunny-day-1")
	// Usergrid keeps its hashes in base64.
	hash, err := bcrypt.GenerateFromPassword([]byte("rainy-day-2"), 4)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{base64.RawURLEncoding.EncodeToString(hash), base64.StdEncoding.EncodeToString(hash), strings.Replace(string(hash), "$2a$", "$2y$", 1)} {
		if a := r.super("PUT", "/users/bo/credentials", `{"credentials":{"secret":"`+secret+`","cryptoChain":["bcrypt"],"hashType":null}}`); a.Status != 200 {
			t.Errorf("%s", a.Body)
		}
		r.login(r.App, "bo", "rainy-day-2")
		if a := r.super("GET", "/users/bo/credentials", ""); !strings.Contains(a.Body, `"secret":"`+secret+`"`) {
			t.Errorf("%s", a.Body)
		}
	}
	// What is put is stored as it is, and no password matches what is no hash, or would
	// cost hours to try.
	for _, secret := range []string{string(hash[:20]), "x", strings.Replace(string(hash), "$04$", "$31$", 1)} {
		if a := r.super("PUT", "/users/bo/credentials", `{"credentials":{"secret":"`+secret+`"}}`); a.Status != 200 {
			t.Errorf("%s", a.Body)
		}
		if a, err := r.Do("POST", r.App+"/token", "", `{"grant_type":"password","username":"bo","password":"rainy-day-2"}`); err != nil || a.Code() != "invalid_grant" {
			t.Errorf("%s: %v %s", secret, err, a.Body)
		}
	}
	for _, body := range []string{``, `{}`, `{"credentials":{}}`, `{"credentials":7}`, `{"credentials":{"secret":7}}`, `{"credentials":{"secret":"` + strings.Repeat("x", 5000) + `"}}`} {
		if a := r.super("PUT", "/users/bo/credentials", body); a.Status != 400 || a.Code() != "illegal_argument" {
			t.Errorf("%.60s: %s", body, a.Body)
		}
	}
	if a := r.super("GET", "/users/cy/credentials", ""); a.Status != 200 || a.Fields["credentials"] != nil {
		t.Errorf("without a password: %s", a.Body)
	}
	if a := r.super("GET", "/users/none/credentials", ""); a.Status != 404 {
		t.Errorf("%s", a.Body)
	}
	for _, who := range []string{r.Admin, "", r.login(r.App, "ana", "sunny-day-1")} {
		r.as(who).fails("GET", "/users/ana/credentials", "", 401, "unauthorized")
		r.as(who).fails("PUT", "/users/ana/credentials", string(back), 401, "unauthorized")
	}
}

// TestSecretsOfUsersStaySecret looks for them wherever users are shown.
func TestSecretsOfUsersStaySecret(t *testing.T) {
	r := newRest(t)
	const secret = "sunny-day-secret"
	body := `{"username":"ana","password":"` + secret + `","pin":"` + secret + `","credentials":{"a":"` + secret + `"},"credentialsHistory":["` + secret + `"],"oldpassword":"` + secret + `","newpassword":"` + secret + `"}`
	show := func(a apitest.Answer) {
		t.Helper()
		if strings.Contains(a.Body, secret) || strings.Contains(a.Body, "$2a$") {
			t.Errorf("%s", a.Body)
		}
	}
	show(r.ok("POST", "/users", body))
	r.ok("POST", "/groups", `{"path":"g"}`)
	show(r.ok("POST", "/groups/g/users", strings.Replace(body, `"ana"`, `"bo"`, 1)))
	show(r.ok("PUT", "/users/ana", strings.Replace(body, `"username":"ana",`, "", 1)))
	show(r.ok("PUT", "/groups/g/users/bo", strings.Replace(body, `"username":"ana",`, "", 1)))
	show(r.ok("PUT", "/users/cy", strings.Replace(body, `"username":"ana",`, "", 1)))
	for _, path := range []string{"/users", "/users/ana", "/groups/g/users", "/users/ana/groups", "/users?ql=select *", "/users?ql=select password,pin,credentials", "/users/indexes"} {
		show(r.ok("GET", strings.ReplaceAll(path, " ", "%20"), ""))
	}
	for _, property := range []string{"password", "pin", "credentials.a"} {
		if n := len(r.query("/users", property+" = '"+secret+"'").Entities()); n != 0 {
			t.Errorf("%s can be asked for", property)
		}
	}
	for _, user := range []string{"ana", "bo", "cy"} {
		r.login(r.App, user, secret)
	}
}

// TestWhoIsWho is the order of spec users-groups-roles section 0.2.
func TestWhoIsWho(t *testing.T) {
	r := newRest(t)
	r.ok("POST", "/users", `{"username":"ana","email":"e'mail+1@example.test"}`)
	r.ok("POST", "/users", `{"username":"bo@example.test"}`)
	r.ok("POST", "/users", `{"username":"cy","email":"bo@example.test"}`)
	r.ok("POST", "/users", `{"username":"dee@example.test","email":"other@example.test"}`)
	r.ok("POST", "/users", `{"username":"what a name; isn't it?"}`)
	for path, want := range map[string]string{
		"/users/e%27mail+1@example.test": "ana", "/users/E'MAIL+1@example.test": "ana", "/users/bo@example.test": "cy", "/users/bo@example.test?force=name": "bo@example.test",
		"/users/bo@example.test?force=email": "cy", "/users/dee@example.test": "dee@example.test", "/users/ana?force=name": "ana", "/users/what%20a%20name;%20isn't%20it%3f": "what a name; isn't it?",
	} {
		if got := fmt.Sprint(r.ok("GET", path, "").Entity()["username"]); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	r.fails("GET", "/users/ana?force=email", "", 404, "service_resource_not_found")
	r.fails("GET", "/users/dee@example.test?force=email", "", 404, "service_resource_not_found")
	r.fails("POST", "/users", `{"username":"ME"}`, 400, "illegal_argument")
	r.fails("PUT", "/users/ana", `{"username":"Me"}`, 400, "illegal_argument")
	r.ok("DELETE", "/users/ana", "")
	r.ok("POST", "/users", `{"username":"ana","email":"e'mail+1@example.test"}`)
	if a := r.query("/users", "username = 'x' or email = 'bo@example.test'"); len(a.Entities()) != 1 {
		t.Errorf("availability: %s", a.Body)
	}
}

// TestFollowersAreQueried is spec users-groups-roles section 1.14.
func TestFollowersAreQueried(t *testing.T) {
	r := newRest(t)
	r.ok("POST", "/users", `[{"username":"ana","age":1},{"username":"bo","age":2},{"username":"cy","age":3}]`)
	a := r.ok("POST", "/users/ana/following/users/cy", "")
	if a.Entity()["username"] != "cy" || !strings.HasSuffix(fmt.Sprint(a.Fields["path"]), "/following") {
		t.Errorf("%s", a.Body)
	}
	r.ok("POST", "/users/bo/following/users/cy", "")
	r.ok("POST", "/users/ana/following/ana", "") // oneself
	if got := usernames(r.ok("GET", "/users/cy/followers", "")); got != "bo ana" {
		t.Errorf("followers %s", got)
	}
	if got := usernames(r.query("/users/cy/followers", "age < 2")); got != "ana" {
		t.Errorf("followers of an age: %s", got)
	}
	first := r.ok("GET", "/users/cy/followers?limit=1", "")
	if next := r.ok("GET", "/users/cy/followers?limit=1&cursor="+first.Cursor(), ""); usernames(first) != "bo" || usernames(next) != "ana" {
		t.Errorf("pages: %s %s", usernames(first), usernames(next))
	}
	for _, path := range []string{"/users/ana/connections", "/users/cy/connecting"} {
		if a := r.ok("GET", path, ""); len(a.Entities()) != 0 {
			t.Errorf("%s: %s", path, a.Body)
		}
	}
	if got := usernames(r.ok("GET", "/users/cy/connecting/following", "")); got != "bo ana" {
		t.Errorf("connecting/following: %s", got)
	}
}
