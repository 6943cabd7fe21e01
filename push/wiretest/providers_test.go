package wiretest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/trellisdb/trellis/push"
	"github.com/trellisdb/trellis/push/provider"
	"github.com/trellisdb/trellis/push/providertest"
	"github.com/trellisdb/trellis/storage/entity"
)

// acceptance13_8 sends payloads of section 4.2, and looks at what APNs got.
func acceptance13_8(t *testing.T, w *world) {
	w.notifier(w.services.AppleBody(t, "ios"))
	device := w.device("d", "ios", quoted("<"+strings.ToUpper(hexOf("d"))+">"))
	const id = "0c1a3d5e-7b9f-5a1c-8e3d-5f7a9b1c3d5e"
	expire := time.Now().Add(time.Hour).Unix()
	for _, tc := range []struct {
		payload, more, body string
		header              map[string]string
	}{
		{`"hi"`, "", `{"aps":{"alert":"hi"}}`, map[string]string{"topic": "test.example.shop", "push-type": "alert", "expiration": "0", "priority": ""}},
		{`"a \"quoted\" word"`, "", `{"aps":{"alert":"a \"quoted\" word"}}`, nil},
		{`"escaped \\\"before\\\""`, "", `{"aps":{"alert":"escaped \"before\""}}`, nil},
		{`"{\"aps\":{\"badge\":3}}"`, "", `{"aps":{"badge":3}}`, nil},
		{`{"aps":{"alert":{"title":"x"}},"k":[1,2]}`, "", `{"aps":{"alert":{"title":"x"}},"k":[1,2]}`, nil},
		{`"hi"`, `,"priority":"HIGH"`, "", map[string]string{"priority": "10"}},
		{`"hi"`, `,"priority":"normal"`, "", map[string]string{"priority": "5"}},
		{`"hi"`, `,"priority":null`, "", map[string]string{"priority": ""}},
		{`"hi"`, `,"priority":"urgent"`, "", map[string]string{"priority": ""}},
		{`"hi"`, fmt.Sprintf(`,"expire":%d`, expire), "", map[string]string{"expiration": fmt.Sprint(expire)}},
		{`{"aps":{"content-available":1}}`, `,"priority":"high"`, "", map[string]string{"push-type": "background", "priority": "5"}},
		{`{"aps":{},"_apns":{"push-type":"voip","priority":1,"collapse-id":"c","id":"` + id + `"}}`, "", `{"aps":{}}`,
			map[string]string{"push-type": "voip", "topic": "test.example.shop.voip", "priority": "1", "collapse-id": "c", "id": id}},
	} {
		t.Run("13.8 "+tc.payload+tc.more, func(t *testing.T) {
			n := w.notify("/devices/d", `{"ios":`+tc.payload+`}`, tc.more)
			w.wantEnd(n, finished)
			got := w.services.APNs.Last(hexOf("d"))
			if tc.body != "" && string(got.Body) != tc.body {
				t.Errorf("sent %s, want %s", got.Body, tc.body)
			}
			for name, want := range tc.header {
				if v := got.Header.Get("apns-" + name); v != want {
					t.Errorf("apns-%s is %q, want %q", name, v, want)
				}
			}
			r := w.receipt(n)
			if tc.header["id"] == "" {
				of, _ := entity.ParseID(n)
				to, _ := entity.ParseID(device)
				if want := push.MessageID(of, to).String(); got.Header.Get("apns-id") != want || r["providerId"] != want {
					t.Errorf("apns-id %q, receipt %v, want %s", got.Header.Get("apns-id"), r["providerId"], want)
				}
			}
			if shown, err := json.Marshal(r["payload"]); err != nil || !sameJSON(string(shown), string(got.Body)) || !sameJSON(marshal(t, r["payloads"]), string(got.Body)) {
				t.Errorf("receipt %v", r)
			}
		})
	}
	// Lower-cased and without marks on the way, as it came in the receipt.
	if r := w.ok("GET", "/receipts?limit=1", "").Entity(); r["notifierId"] != "<"+strings.ToUpper(hexOf("d"))+">" {
		t.Errorf("13.8 receipt %v", r)
	}
	// What was said and taken back is not said.
	late := w.ok("POST", "/devices/d/notifications", `{"payloads":{"ios":"x"},"priority":"normal","deliver":4000000000}`).Entity()
	w.ok("PUT", fmt.Sprint("/notifications/", late["uuid"]), `{"priority":null,"deliver":null}`)
	w.wantEnd(fmt.Sprint(late["uuid"]), "FINISHED 1 0 1")
	if v := w.services.APNs.Last(hexOf("d")).Header.Get("apns-priority"); v != "" {
		t.Errorf("13.8 priority %q", v)
	}
}

func sameJSON(a, b string) bool {
	var x, y any
	return json.Unmarshal([]byte(a), &x) == nil && json.Unmarshal([]byte(b), &y) == nil && fmt.Sprint(x) == fmt.Sprint(y)
}

// TestAcceptance13_9: one signed token serves many messages; certificates work. Those that
// have expired are refused: acceptance13_3.
func TestAcceptance13_9(t *testing.T) {
	w := newWorld(t, options{})
	w.notifier(w.services.AppleBody(t, "ios"))
	w.devices(100, "d", "ios", func(name string) string { return quoted(hexOf(name)) })
	t.Run("13.9 one token", func(t *testing.T) {
		w.wantEnd(w.notify("/devices/*", `{"ios":"x"}`, ""), "FINISHED 100 0 100")
		if n := w.services.APNs.Tokens(); n != 1 {
			t.Errorf("%d tokens were signed", n)
		}
	})
	t.Run("13.9 a certificate", func(t *testing.T) {
		file, leaf := providertest.P12(t, providertest.Certificate{UserID: "test.example.shop"}) // encrypted by AES, without a password
		w.services.APNs.AddCertificate(leaf)
		a := w.form("POST", "/notifiers", "name=cert", "provider=apple", "environment=production", "certificatePassword=", "p12Certificate@push.p12="+string(file))
		info, _ := a.Entity()["certInfo"].(map[string]any)
		if a.Status != http.StatusOK || a.Entity()["verified"] != true || info["filename"] != "push.p12" || a.Entity()["bundleId"] != "test.example.shop" || a.Entity()["p12Certificate"] != nil {
			t.Fatalf("notifier %d %s", a.Status, a.Body)
		}
		w.device("c", "cert", quoted(hexOf("c")))
		w.wantEnd(w.notify("/devices/c", `{"cert":"x"}`, ""), finished)
		if r := w.services.APNs.Last(hexOf("c")); r.Header.Get("apns-topic") != "test.example.shop" || r.Header.Get("Authorization") != "" {
			t.Errorf("sent with %v", r.Header)
		}
		// Another certificate, by a form as the portal sends it: the environment stays.
		other, leaf := providertest.P12(t, providertest.Certificate{UserID: "test.example.shop", Password: "other"})
		w.services.APNs.AddCertificate(leaf)
		a = w.form("PUT", "/notifiers/cert", "certificatePassword=other", "p12Certificate@new.p12="+string(other))
		if a.Status != http.StatusOK || a.Entity()["environment"] != "production" || a.Entity()["verified"] != true {
			t.Fatalf("notifier %d %s", a.Status, a.Body)
		}
		w.wantEnd(w.notify("/devices/c", `{"cert":"x"}`, ""), finished)
	})
}

// acceptance13_10: a dead token goes from every device, but from one that came with it
// again. The other codes are in codesOfAPNs.
func acceptance13_10(t *testing.T, w *world) {
	ios := w.notifier(w.services.AppleBody(t, "ios"))
	uuid := fmt.Sprint(ios["uuid"])
	token := quoted(hexOf("same"))
	for _, name := range []string{"first", "second", "again"} {
		w.device(name, "ios", token)
	}
	w.device("byid", uuid, token)
	w.device("other", "other", token)
	dead := time.Now().Add(time.Millisecond)
	for !time.Now().After(dead.Add(time.Millisecond)) { // registered later than that
	}
	w.ok("PUT", "/devices/second", `{"place":"elsewhere"}`) // changed, and not registered anew
	w.device("again", "ios", token)
	w.services.APNs.On(hexOf("same"), answer{Status: http.StatusGone, Reason: "Unregistered", Timestamp: dead.UnixMilli()})
	n := w.notify("/devices/first", `{"ios":"x"}`, "")
	w.wantEnd(n, failing)
	if r := w.receipt(n); r["errorCode"] != "Unregistered" {
		t.Errorf("13.10 receipt %v", r)
	}
	for name, held := range map[string]bool{"first": false, "second": false, "again": true, "byid": false, "other": true} {
		notifier := map[string]string{"byid": uuid, "other": "other"}[name]
		if notifier == "" {
			notifier = "ios"
		}
		if w.holds(name, notifier) != held {
			t.Errorf("13.10 %s is registered: %v", name, !held)
		}
	}
	if got := w.ok("GET", "/devices/first", "").Entity(); got["ios.notifier.registration"] != nil || got["name"] != "first" {
		t.Errorf("13.10 the device: %v", got)
	}
	w.wantEnd(w.notify("/devices/again", `{"ios":"x"}`, ""), finished)
	w.wantEnd(w.notify("/devices/first", `{"ios":"x"}`, ""), "FINISHED 0 0 0")
}

// TestAcceptance13_11: what FCM gets. Its codes are in codesOfFCM, Retry-After in
// retryAfterIsHonoured, and the legacy API in codesOfGCM and legacyBatches.
func TestAcceptance13_11(t *testing.T) {
	w := newWorld(t, options{services: func(_ *providertest.Services, c *provider.Config) { c.GCM = "" }})
	both := w.services.GoogleBody(t, "droid")
	both["apiKey"] = "legacy-server-key" // the service account is what is used
	w.notifier(both)
	w.notifier(with(w.services.GoogleBody(t, "shows"), "stringPayloadAs", "notification"))
	w.device("d", "droid", quoted("d"))
	w.device("s", "shows", quoted("s"))
	for _, tc := range []struct{ device, payloads, more, want string }{
		{"d", `{"droid":{"n":3,"s":"x","o":{"a":[1]},"b":true}}`, "", `{"message":{"data":{"n":"3","s":"x","o":"{\"a\":[1]}","b":"true"},"android":{"priority":"NORMAL"},"token":"d"}}`},
		{"d", `{"droid":"text"}`, `,"priority":"high"`, `{"message":{"data":{"data":"text"},"android":{"priority":"HIGH"},"token":"d"}}`},
		{"d", `{"droid":{"a":"x","time_to_live":60,"collapse_key":"c"}}`, "", `{"message":{"data":{"a":"x"},"android":{"priority":"NORMAL","ttl":"60s","collapse_key":"c"},"token":"d"}}`},
		{"d", `{"droid":{"message":{"notification":{"title":"x"},"apns":{"headers":{}}}}}`, "", `{"message":{"notification":{"title":"x"},"apns":{"headers":{}},"token":"d"}}`},
		{"s", `{"shows":"text"}`, "", `{"message":{"notification":{"body":"text"},"android":{"priority":"NORMAL"},"token":"s"}}`},
	} {
		t.Run("13.11 "+tc.payloads, func(t *testing.T) {
			id := w.notify("/devices/"+tc.device, tc.payloads, tc.more)
			w.wantEnd(id, finished)
			if got := string(w.services.FCM.Last(tc.device).Body); got != tc.want {
				t.Errorf("sent\n%s, want\n%s", got, tc.want)
			}
			if r := w.receipt(id); !strings.HasPrefix(fmt.Sprint(r["providerId"]), "projects/shop-1/messages/") {
				t.Errorf("receipt %v", r)
			}
		})
	}
	t.Run("13.11 a token of access is fetched once", func(t *testing.T) {
		before := w.services.FCM.Count(providertest.OAuth)
		w.devices(50, "m", "droid", quoted)
		w.wantEnd(w.notify(everyOf("m"), `{"droid":"x"}`, ""), "FINISHED 50 0 50")
		if got := w.services.FCM.Count(providertest.OAuth); got != before {
			t.Errorf("%d more", got-before)
		}
		w.services.FCM.Revoke()
		w.wantEnd(w.notify(everyOf("m"), `{"droid":"x"}`, ""), "FINISHED 50 0 50")
	})
	t.Run("13.11 no endpoint for legacy messages", func(t *testing.T) {
		if n := w.notifier(map[string]any{"name": "old", "provider": "google", "apiKey": "legacy-server-key"}); n["verified"] != false || !strings.Contains(fmt.Sprint(n["verifyMessage"]), "serviceAccount") {
			t.Errorf("notifier %v", n)
		}
		w.device("o", "old", quoted("o"))
		id := w.notify("/devices/o", `{"old":"x"}`, "")
		w.wantEnd(id, failed)
		if r := w.receipt(id); r["errorCode"] != "LegacyCredentialsUnsupported" {
			t.Errorf("receipt %v", r)
		}
	})
}

// acceptance13_12: what WNS gets. Its codes are in codesOfWNS.
func acceptance13_12(t *testing.T, w *world) {
	w.notifier(w.services.WindowsBody("win"))
	w.device("d", "win", quoted(w.services.WNS.Channel("d")))
	w.services.WNS.On("d", answer{}, answer{Status: http.StatusServiceUnavailable}) // the badge is tried again, the toast is not
	id := w.notify("/devices/d", `{"win":{"raw":"r & <","badge":7,"toast":"a <b>"}}`, fmt.Sprintf(`,"expire":%d`, time.Now().Add(time.Hour).Unix()))
	w.wantEnd(id, finished)
	var got []string
	for _, r := range w.services.WNS.Requests() {
		if r.Device == "d" {
			got = append(got, r.Header.Get("X-WNS-Type")+" "+string(r.Body))
			if r.Header.Get("X-WNS-TTL") == "" {
				t.Errorf("13.12 no time to live: %v", r.Header)
			}
		}
	}
	toast := `wns/toast <toast><visual><binding template="ToastText01"><text id="1">a &lt;b&gt;</text></binding></visual></toast>`
	if want := []string{toast, `wns/badge <badge value="7"/>`, `wns/badge <badge value="7"/>`, `wns/raw r & <`}; !slices.Equal(got, want) {
		t.Errorf("13.12 sent %q, want %q", got, want)
	}
	if r := w.receipt(id); r["providerId"] == nil || fmt.Sprint(r["attempts"]) != "2" {
		t.Errorf("13.12 receipt %v", r)
	}
	t.Run("13.12 foreign hosts", func(t *testing.T) {
		for i, channel := range []string{"https://notify.windows.com.example.test/x", "http://127.0.0.1/x", "https://user@127.0.0.1/x", "https://169.254.169.254/latest"} {
			name := fmt.Sprintf("foreign%d", i)
			w.device(name, "win", quoted(channel))
			id := w.notify("/devices/"+name, `{"win":"x"}`, "")
			w.wantEnd(id, failing)
			if r := w.receipt(id); r["errorCode"] != "InvalidToken" {
				t.Errorf("%s: %v", channel, r)
			}
		}
	})
}

// acceptance13_13: the browser decrypts what it gets; the fake complains of everything
// else that is not as it must be, the audience among it. The codes are in
// codesOfWebPush.
func acceptance13_13(t *testing.T, w *world) {
	key := fmt.Sprint(w.notifier(with(w.services.WebPushBody("web"), "defaultTtl", 77))["vapidPublicKey"])
	if shown := w.ok("GET", "/notifiers/web", "").Entity(); shown["vapidPublicKey"] != key || shown["vapidPrivateKey"] != nil {
		t.Errorf("13.13 notifier %v", shown)
	}
	w.device("d", "web", w.services.WebPush.Subscribe("d", key))
	for _, tc := range []struct {
		payload, more, body string
		header              map[string]string
	}{
		{`"plain text"`, "", "plain text", map[string]string{"TTL": "77", "Urgency": "normal", "Topic": "", "Content-Encoding": "aes128gcm"}},
		{`{"title":"x","n":[1]}`, `,"priority":"high"`, `{"title":"x","n":[1]}`, map[string]string{"Urgency": "high"}},
		{`{"a":1,"_webpush":{"topic":"t","urgency":"very-low","ttl":5}}`, "", `{"a":1}`, map[string]string{"TTL": "5", "Urgency": "very-low", "Topic": "t"}},
		{`"` + strings.Repeat("x", 3993) + `"`, "", strings.Repeat("x", 3993), nil},
	} {
		id := w.notify("/devices/d", `{"web":`+tc.payload+`}`, tc.more)
		w.wantEnd(id, finished)
		got := w.services.WebPush.Last("d")
		if string(got.Body) != tc.body {
			t.Errorf("13.13 decrypted %q, want %q", got.Body, tc.body)
		}
		for name, want := range tc.header {
			if v := got.Header.Get(name); v != want {
				t.Errorf("13.13 %s is %q, want %q", name, v, want)
			}
		}
		if r := w.receipt(id); r["notifierId"] != w.services.WebPush.Endpoint("d") || r["providerId"] == nil {
			t.Errorf("13.13 receipt %v", r)
		}
	}
	t.Run("13.13 half subscriptions", func(*testing.T) {
		for _, value := range []string{`"text"`, `{}`, `{"endpoint":"https://push.example.test/1"}`, `{"endpoint":"http://push.example.test/1","keys":{"p256dh":"x","auth":"y"}}`, `"{\"endpoint\":1}"`, `7`} {
			w.fails("PUT", "/devices/half", `{"web.notifier.id":`+value+`}`, http.StatusBadRequest, illegal, "subscription")
		}
	})
	t.Run("13.13 other keys", func(*testing.T) {
		pair, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			w.Fatal(err)
		}
		scalar, err := pair.Bytes()
		if err != nil {
			w.Fatal(err)
		}
		body := fmt.Sprintf(`{"vapidPublicKey":null,"vapidPrivateKey":%q}`, base64.RawURLEncoding.EncodeToString(scalar))
		w.fails("PUT", "/notifiers/web", body, http.StatusBadRequest, illegal, "force=true")
		if n := w.ok("PUT", "/notifiers/web?force=true", body).Entity(); n["vapidPublicKey"] == key || n["vapidPublicKey"] == nil || n["vapidPrivateKey"] != nil {
			w.Errorf("notifier %v", n)
		}
	})
}

// TestAcceptance13_13Private: subscriptions and channels on private networks are not
// posted to, nor are what names resolve to.
func TestAcceptance13_13Private(t *testing.T) {
	w := newWorld(t, options{services: func(_ *providertest.Services, c *provider.Config) { c.AllowPrivate = false }})
	w.notifier(w.services.WebPushBody("web"))
	w.notifier(w.services.WindowsBody("win"))
	subscription := w.services.WebPush.Subscribe("d", "")
	w.device("d", "web", subscription)
	w.device("named", "web", strings.ReplaceAll(subscription, "127.0.0.1", "localhost"))
	w.device("win", "win", quoted(w.services.WNS.Channel("win")))
	for _, device := range []string{"d", "named", "win"} {
		id := w.notify("/devices/"+device, `{"web":"x","win":"x"}`, "")
		w.wantEnd(id, failing)
		if r := w.receipt(id); r["errorCode"] != "ForbiddenAddress" {
			t.Errorf("13.13 %s: %v", device, r)
		}
	}
	if n := w.services.WebPush.Total() + w.services.WNS.Count("win"); n != 0 {
		t.Errorf("13.13 %d requests came through", n)
	}
}

// journal is a log that tests read.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

// TestAcceptance13_15: secrets are in no answer, no export, no log and no file, and a
// change that does not name them keeps them. Tokens and payloads are in no log.
func TestAcceptance13_15(t *testing.T) {
	log := &journal{}
	w := newWorld(t, options{log: log})
	apple, google := w.services.AppleBody(t, "ios"), w.services.GoogleBody(t, "droid")
	bodies := []map[string]any{apple, google, w.services.LegacyBody("old"), w.services.WindowsBody("win"), w.certificate("cert", providertest.Certificate{Password: "password-of-p12"})}
	var account struct {
		Key string `json:"private_key"`
	}
	if err := json.Unmarshal(google["serviceAccount"].(json.RawMessage), &account); err != nil {
		t.Fatal(err)
	}
	line := func(pem any) string { return strings.Split(fmt.Sprint(pem), "\n")[1] } // of the key itself
	secrets := []string{line(apple["authKey"]), line(account.Key), "legacy-server-key", "s3cret-of-wns", "password-of-p12", fmt.Sprint(bodies[4]["p12Certificate"])[:60]}
	clean := func(what, text string, words ...string) {
		t.Helper()
		for i, word := range words {
			if strings.Contains(text, word) {
				t.Errorf("13.15 %s holds the word %d, %.10s…", what, i, word)
			}
		}
	}
	tokens := map[string]string{"ios": hexOf("d-of-ios"), "droid": "token-of-droid", "old": "token-of-old", "win": w.services.WNS.Channel("channel-of-win"), "cert": hexOf("d-of-cert")}
	for _, body := range bodies {
		name := fmt.Sprint(body["name"])
		clean("the answer of POST", w.ok("POST", "/notifiers", marshal(t, body)).Body, secrets...)
		clean("the answer of PUT", w.ok("PUT", "/notifiers/"+name, `{"note":"changed"}`).Body, secrets...)
		clean("the answer of GET", w.ok("GET", "/notifiers/"+name, "").Body, secrets...)
		w.device("d-"+name, name, quoted(tokens[name]))
		if name == "droid" { // what fails is logged, if anything is
			w.services.FCM.On(tokens[name], answer{Status: 503, Echo: true}, answer{Status: 404, Reason: "UNREGISTERED", Echo: true})
		}
		id := w.notify("/devices/d-"+name, fmt.Sprintf(`{%q:"words-of-payload"}`, name), "")
		n := w.ended(id)
		if want := map[bool]string{true: failing, false: finished}[name == "droid"]; summary(n) != want { // its secrets are still there
			t.Errorf("13.15 %s ended %s: %v", name, summary(n), n)
		}
	}
	for _, path := range []string{"/notifiers", "/notifiers?limit=100&ql=select%20*", "/receipts?limit=100", "/notifications?limit=100", "?apiKey=legacy-server-key"} {
		clean(path, w.ok("GET", path, "").Body, secrets...)
	}
	if n := len(w.ok("GET", "/notifiers?ql=apiKey='legacy-server-key'%20or%20apiKey%20contains%20'legacy'", "").Entities()); n != 0 {
		t.Errorf("13.15 %d are found by a secret", n)
	}
	a, err := w.Do("GET", w.App+"/export?format=ndjson", w.Admin, "")
	if err != nil || a.Status != http.StatusOK || !strings.Contains(a.Body, `"droid"`) {
		t.Fatalf("export: %v %d %.300s", err, a.Status, a.Body)
	}
	clean("the export", a.Body, secrets...)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	private := append(slices.Clone(secrets), "words-of-payload")
	for _, token := range tokens {
		private = append(private, token)
	}
	clean("the log", log.String(), private...)
	if !strings.Contains(log.String(), "part=push") && !strings.Contains(log.String(), "level=") {
		t.Error("13.15 there is no log")
	}
	told := false // that the files are searched for what is in them
	err = filepath.WalkDir(w.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		told = told || bytes.Contains(text, []byte("words-of-payload"))
		clean(filepath.Base(path), string(text), secrets...)
		return err
	})
	if err != nil || !told {
		t.Errorf("13.15 the files hold the payloads: %v; %v", told, err)
	}
}
