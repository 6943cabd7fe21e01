package wiretest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/trellisdb/trellis/api/apitest"
	"github.com/trellisdb/trellis/push"
	"github.com/trellisdb/trellis/push/providertest"
)

// with is a body with some members changed; nil takes one away.
func with(body map[string]any, changes ...any) map[string]any {
	out := maps.Clone(body)
	for i := 0; i < len(changes); i += 2 {
		name, _ := changes[i].(string)
		if changes[i+1] == nil {
			delete(out, name)
		} else {
			out[name] = changes[i+1]
		}
	}
	return out
}

// form sends a multipart form of parts "name=value" and files "name@file=content".
func (w *world) form(method, path string, parts ...string) apitest.Answer {
	w.Helper()
	var b bytes.Buffer
	form := multipart.NewWriter(&b)
	for _, part := range parts {
		name, value, _ := strings.Cut(part, "=")
		to, err := form.CreateFormField(name)
		if field, file, ok := strings.Cut(name, "@"); ok {
			to, err = form.CreateFormFile(field, file)
		}
		if err == nil {
			_, err = to.Write([]byte(value))
		}
		if err != nil {
			w.Fatal(err)
		}
	}
	if err := form.Close(); err != nil {
		w.Fatal(err)
	}
	req, err := http.NewRequest(method, w.URL+w.App+path, &b)
	if err != nil {
		w.Fatal(err)
	}
	req.Header.Set("Content-Type", form.FormDataContentType())
	req.Header.Set("Authorization", "Bearer "+w.Admin)
	a, err := w.Send(req)
	if err != nil {
		w.Fatal(err)
	}
	return a
}

// certificate is the body of an apple notifier with a certificate, which APNs is told of.
func (w *world) certificate(name string, c providertest.Certificate) map[string]any {
	w.Helper()
	file, leaf := providertest.P12(w.T, c)
	w.services.APNs.AddCertificate(leaf)
	return map[string]any{
		"name": name, "provider": "apple", "environment": "development", "bundleId": "test.example.shop",
		"p12Certificate": base64.StdEncoding.EncodeToString(file), "certificatePassword": c.Password,
	}
}

// refusedNotifier is a row of the table of section 1.4 of the specification.
type refusedNotifier struct {
	what        string
	body        map[string]any
	code, words string
}

const (
	required = "required_property_not_found"
	illegal  = "illegal_argument"
)

func (w *world) refusedNotifiers() []refusedNotifier {
	apple, certificate := w.services.AppleBody(w.T, "x"), w.certificate("x", providertest.Certificate{Password: "right"})
	expired := w.certificate("x", providertest.Certificate{NotAfter: time.Now().Add(-time.Hour)})
	google, windows, web := w.services.GoogleBody(w.T, "x"), w.services.WindowsBody("x"), w.services.WebPushBody("x")
	account := func(changes ...any) map[string]any {
		var members map[string]any
		if err := json.Unmarshal(google["serviceAccount"].(json.RawMessage), &members); err != nil {
			w.Fatal(err)
		}
		return with(google, "serviceAccount", with(members, changes...))
	}
	return []refusedNotifier{
		{"no provider", map[string]any{"name": "x"}, required, "provider"},
		{"unknown provider", map[string]any{"name": "x", "provider": "pigeon"}, illegal, "apple, google, noop, webpush, windows"},
		{"duplicate name", map[string]any{"name": "TAKEN", "provider": "noop"}, "duplicate_unique_property_exists", "name"},
		{"certInfo", map[string]any{"name": "x", "provider": "noop", "certInfo": map[string]any{}}, illegal, "certInfo"},
		{"apple: no environment", with(apple, "environment", nil), illegal, "environment"},
		{"apple: another environment", with(apple, "environment", "testing"), illegal, "environment"},
		{"apple: neither certificate nor key", with(apple, "authKey", nil), required, "p12Certificate"},
		{"apple: no base64", with(certificate, "p12Certificate", "!!!"), illegal, "base64"},
		{"apple: no p12", with(certificate, "p12Certificate", "aGVsbG8="), illegal, "p12Certificate"},
		{"apple: wrong password", with(certificate, "certificatePassword", "wrong"), illegal, "certificatePassword"},
		{"apple: expired", expired, illegal, "expired"},
		{"apple: no keyId", with(apple, "keyId", nil), required, "keyId"},
		{"apple: no teamId", with(apple, "teamId", nil), required, "teamId"},
		{"apple: no bundleId", with(apple, "bundleId", nil), required, "bundleId"},
		{"apple: no key", with(apple, "authKey", "hello"), illegal, "authKey"},
		{"google: neither key nor account", map[string]any{"name": "x", "provider": "google"}, required, "apiKey"},
		{"google: no project", account("project_id", nil), illegal, "project_id"},
		{"google: no address", account("client_email", nil), illegal, "client_email"},
		{"google: no key", account("private_key", nil), illegal, "private_key"},
		{"google: unreadable key", account("private_key", "hello"), illegal, "private_key"},
		{"google: no account", with(google, "serviceAccount", "hello"), illegal, "serviceAccount"},
		{"windows: no sid", with(windows, "sid", nil), illegal, "sid"},
		{"windows: no key", with(windows, "apiKey", nil), illegal, "apiKey"},
		{"windows: logging", with(windows, "logging", "maybe"), illegal, "logging"},
		{"windows: half of Entra's", with(windows, "sid", nil, "apiKey", nil, "tenantId", "t", "clientId", "c"), illegal, ""},
		{"webpush: no subject", with(web, "subject", nil), illegal, "subject"},
		{"webpush: subject", with(web, "subject", "ops@example.test"), illegal, "subject"},
		{"webpush: keys that are no pair", with(web, "vapidPublicKey", "BAAA", "vapidPrivateKey", "AAAA"), illegal, "vapid"},
	}
}

// acceptance13_3 is every row of the validation of notifiers (1.4) and of
// notifications (3.3), by POST and by PUT.
func acceptance13_3(t *testing.T, w *world) {
	w.ok("POST", "/notifiers", `{"name":"taken","provider":"noop"}`)
	t.Run("13.3 notifiers (1.4)", func(t *testing.T) {
		for _, tc := range w.refusedNotifiers() {
			t.Run(tc.what, func(t *testing.T) {
				for _, request := range []string{"POST /notifiers", "PUT /notifiers/x"} {
					method, path, _ := strings.Cut(request, " ")
					if tc.what == "duplicate name" && method == "PUT" {
						continue
					}
					a := w.do(method, path, marshal(t, tc.body))
					if a.Status != http.StatusBadRequest || a.Code() != tc.code || !strings.Contains(fmt.Sprint(a.Fields["error_description"]), tc.words) {
						t.Errorf("%s: %d %s, want %s with %q", request, a.Status, a.Body, tc.code, tc.words)
					}
				}
			})
		}
		for _, parts := range [][]string{
			{"name=x", "provider=apple", "environment=production"},
			{"name=x", "provider=apple", "environment=production", "certificatePassword=", "p12Certificate@push.p12=hello"},
			{"name=x", "provider=noop", "certInfo=x"},
			{"name=x", "provider=noop", "certInfo@f=x"},
		} {
			if a := w.form("POST", "/notifiers", parts...); a.Status != http.StatusBadRequest || a.Code() != illegal {
				t.Errorf("%v: %d %s", parts, a.Status, a.Body)
			}
		}
		if got := w.ok("GET", "/notifiers", "").Entities(); len(got) != 1 {
			t.Errorf("stored all the same: %v", got)
		}
	})
	t.Run("13.3 what is taken (1.4)", func(t *testing.T) {
		for what, body := range map[string]map[string]any{
			"logging is true by default":  with(w.services.WindowsBody("w1"), "logging", nil),
			"certificates of noop":        {"name": "n1", "provider": "NOOP", "p12Certificate": "ignored", "certificatePassword": "x"},
			"environment of google":       {"name": "g1", "provider": "google", "environment": "environment", "apiKey": "k"},
			"keys of webpush are made":    {"name": "v1", "provider": "webpush", "subject": "mailto:ops@example.test"},
			"mock needs no APNs":          with(w.services.AppleBody(t, "a1"), "environment", "mock"),
			"a service account in a text": with(w.services.GoogleBody(t, "g2"), "serviceAccount", string(w.services.GoogleBody(t, "g2")["serviceAccount"].(json.RawMessage))),
		} {
			n := w.notifier(body)
			switch n["name"] {
			case "w1":
				if n["logging"] != true {
					t.Errorf("%s: %v", what, n)
				}
			case "v1":
				if key, err := base64.RawURLEncoding.DecodeString(fmt.Sprint(n["vapidPublicKey"])); err != nil || len(key) != 65 {
					t.Errorf("%s: %v", what, n)
				}
			}
		}
	})
	t.Run("13.3 notifications (3.3)", func(t *testing.T) { w.refusedNotifications() })
}

// refusedNotifications is the table of section 3.3, and the payloads of section 4 that
// cannot be sent.
func (w *world) refusedNotifications() {
	w.Helper()
	for _, body := range []map[string]any{w.services.AppleBody(w.T, "ios"), w.services.GoogleBody(w.T, "droid"), w.services.WindowsBody("win"), w.services.WebPushBody("web"), w.services.LegacyBody("old")} {
		w.notifier(body)
	}
	past := time.Now().Add(-time.Second).UnixMilli()
	long := strings.Repeat("x", 5001)
	for _, tc := range []struct{ path, body, code, words string }{
		{"/devices/*", `{"note":1}`, required, "payloads"},
		{"/devices/*", `{"payloads":"x"}`, illegal, "payloads"},
		{"/devices/*", `{"payloads":[1]}`, illegal, "payloads"},
		{"/devices/*", `{"payloads":{"nobody":"x"}}`, illegal, "nobody"},
		{"/devices/*", `{"payloads":{"taken":"x"},"deliver":"1900000000"}`, illegal, "Property 'deliver' must be a number"},
		{"/devices/*", `{"payloads":{"taken":"x"},"deliver":{}}`, illegal, "Property 'deliver' must be a number"},
		{"/devices/*", fmt.Sprintf(`{"payloads":{"taken":"x"},"deliver":%d}`, past), illegal, "Property 'deliver' cannot have a value in the past"},
		{"/devices;ql=a=1", `{"payloads":{"taken":"x"},"useGraph":true}`, illegal, "useGraph"},
		{"/devices/*", `[{"payloads":{"taken":"x"}},{"payloads":{"ios":7}}]`, illegal, "apple payload"},
		{"/devices/*", `{"payloads":{"taken":"x","ios":7}}`, illegal, "apple payload"},
		{"/devices/*", `{"payloads":{"ios":"{broken"}}`, illegal, "apple payload"},
		{"/devices/*", `{"payloads":{"ios":"` + long + `"}}`, illegal, "4096"},
		{"/devices/*", `{"payloads":{"ios":{"aps":{},"_apns":{"priority":3}}}}`, illegal, "_apns.priority"},
		{"/devices/*", `{"payloads":{"droid":true}}`, illegal, "google payload"},
		{"/devices/*", `{"payloads":{"droid":"` + long + `"}}`, illegal, "4096"},
		{"/devices/*", `{"payloads":{"droid":{"from":"x"}}}`, illegal, "from"},
		{"/devices/*", `{"payloads":{"droid":{"google.x":"x"}}}`, illegal, "google.x"},
		{"/devices/*", `{"payloads":{"droid":{"message":{"topic":"all"}}}}`, illegal, "topic"},
		{"/devices/*", `{"payloads":{"win":{"other":1}}}`, illegal, "toast, badge, tile or raw"},
		{"/devices/*", `{"payloads":{"win":[1]}}`, illegal, "windows payload"},
		{"/devices/*", `{"payloads":{"win":"` + long + `"}}`, illegal, "5000"},
		{"/devices/*", `{"payloads":{"win":{"badge":"nothing"}}}`, illegal, "badge"},
		{"/devices/*", `{"payloads":{"web":1}}`, illegal, "webpush payload"},
		{"/devices/*", `{"payloads":{"web":"` + long[:3994] + `"}}`, illegal, "3993"},
	} {
		w.fails("POST", tc.path+"/notifications", tc.body, http.StatusBadRequest, tc.code, tc.words)
	}
	if n := len(w.ok("GET", "/notifications", "").Entities()); n != 0 {
		w.Errorf("%d notifications are stored all the same", n)
	}
	// What is taken: nothing to anybody, what has expired, priorities that are none, and
	// what the server says.
	for body, want := range map[string]string{
		`{"payloads":{}}`:                                   "FINISHED 0 0 0",
		`{"payloads":{"taken":null}}`:                       "FINISHED 0 0 0",
		`{"payloads":{"taken":"x"},"priority":"urgent"}`:    "FINISHED 0 0 0",
		`{"payloads":{"taken":"x"},"queued":1,"started":2}`: "FINISHED 0 0 0",
	} {
		id := uuidOf(w.ok("POST", "/devices/*/notifications", body))
		if n := w.wantEnd(id, want); n["priority"] != "normal" {
			w.Errorf("%s: %v", body, n)
		}
	}
	late := w.ok("POST", "/devices/*/notifications", fmt.Sprintf(`{"payloads":{"taken":"x"},"deliver":%d}`, time.Now().UnixMilli())) // up to 500 ms late is now
	w.wantEnd(uuidOf(late), "FINISHED 0 0 0")
}

// TestVerification is section 1.5: what comes of credentials that a service refuses.
func TestVerification(t *testing.T) {
	unknown, _ := providertest.AuthKey(t)
	for _, verify := range []push.Verify{push.VerifyStrict, push.VerifyWarn, push.VerifyOff} {
		t.Run(string(verify), func(t *testing.T) {
			w := newWorld(t, options{engine: func(c *push.Config) { c.Verify = verify }})
			bodies := []map[string]any{
				with(w.services.AppleBody(t, "ios"), "authKey", unknown),
				with(w.services.WindowsBody("win"), "apiKey", "wrong"),
				{"name": "old", "provider": "google", "apiKey": "unknown"},
			}
			stranger, _ := providertest.ServiceAccount(t, "shop-1", "stranger@shop-1.iam.gserviceaccount.com", w.services.FCM.TokenURL())
			bodies = append(bodies, map[string]any{"name": "droid", "provider": "google", "serviceAccount": json.RawMessage(stranger)})
			for _, body := range bodies {
				if verify == push.VerifyStrict {
					w.fails("POST", "/notifiers", marshal(t, body), http.StatusBadRequest, "connection", "refuse")
					w.fails("GET", fmt.Sprint("/notifiers/", body["name"]), "", http.StatusNotFound, "entity_not_found", "")
					continue
				}
				n := w.notifier(body)
				if refused := n["verified"] == false && n["verifyMessage"] != nil; refused != (verify == push.VerifyWarn) {
					t.Errorf("notifier %v", n)
				}
			}
			if verify == push.VerifyOff {
				return
			}
			for _, body := range []map[string]any{w.services.AppleBody(t, "ios2"), w.services.GoogleBody(t, "droid2"), w.services.LegacyBody("old2"), w.services.WindowsBody("win2")} {
				if n := w.notifier(body); n["verified"] != true || n["verifyMessage"] != nil {
					t.Errorf("notifier %v", n)
				}
			}
			w.services.FCM.Die() // who cannot be asked has refused nothing
			if n := w.notifier(w.services.GoogleBody(t, "droid3")); n["verified"] != nil {
				t.Errorf("notifier %v", n)
			}
		})
	}
}
