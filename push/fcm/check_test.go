package fcm_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"

	"github.com/trellisdb/trellis/push/fcm"
	"github.com/trellisdb/trellis/push/provider"
	"github.com/trellisdb/trellis/push/providertest"
	"github.com/trellisdb/trellis/storage/fault"
)

func set(t testing.TB) provider.Set {
	t.Helper()
	p, err := fcm.New(provider.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	return provider.Set{provider.Google: p}
}

// changed is a service account with one member changed; nil takes it away.
func changed(t testing.TB, text, member string, value any) string {
	t.Helper()
	var account map[string]any
	if err := json.Unmarshal([]byte(text), &account); err != nil {
		t.Fatal(err)
	}
	account[member] = value
	if value == nil {
		delete(account, member)
	}
	raw, err := json.Marshal(account)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestCheckRefuses(t *testing.T) {
	s := set(t)
	account, _ := providertest.ServiceAccount(t, "shop-1", email, "https://oauth2.googleapis.com/token")
	weak, _ := rsa.GenerateKey(rand.Reader, 1024)
	curve, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	for _, tc := range []struct {
		name string
		body map[string]any
		want fault.Code
		says string
	}{
		{"nothing", map[string]any{}, fault.RequiredProperty, "apiKey"},
		{"empty", map[string]any{"apiKey": " ", "serviceAccount": nil}, fault.RequiredProperty, "apiKey"},
		{"key a number", map[string]any{"apiKey": 1}, fault.IllegalArgument, "apiKey"},
		{"key of control characters", map[string]any{"apiKey": "a\nb"}, fault.IllegalArgument, "apiKey"},
		{"account a number", map[string]any{"serviceAccount": 1}, fault.IllegalArgument, "serviceAccount"},
		{"account no JSON", map[string]any{"serviceAccount": "x"}, fault.IllegalArgument, "JSON"},
		{"no project", map[string]any{"serviceAccount": changed(t, account, "project_id", nil)}, fault.IllegalArgument, "project_id"},
		{"odd project", map[string]any{"serviceAccount": changed(t, account, "project_id", "a/../b")}, fault.IllegalArgument, "project_id"},
		{"no address", map[string]any{"serviceAccount": changed(t, account, "client_email", nil)}, fault.IllegalArgument, "client_email"},
		{"no key", map[string]any{"serviceAccount": changed(t, account, "private_key", "")}, fault.IllegalArgument, "private_key"},
		{"key no PEM", map[string]any{"serviceAccount": changed(t, account, "private_key", "x")}, fault.IllegalArgument, "private_key"},
		{"key of a curve", map[string]any{"serviceAccount": changed(t, account, "private_key", providertest.PEM(t, curve))}, fault.IllegalArgument, "RSA"},
		{"weak key", map[string]any{"serviceAccount": changed(t, account, "private_key", providertest.PEM(t, weak))}, fault.IllegalArgument, "1024"},
		{"stringPayloadAs", map[string]any{"apiKey": "k", "stringPayloadAs": "x"}, fault.IllegalArgument, "stringPayloadAs"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.body["provider"] = "google"
			_, err := s.Check(providertest.Input(t, tc.body))
			if fault.CodeOf(err) != tc.want || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("it says %v, want %s that names %s", err, tc.want, tc.says)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	s := set(t)
	account, public := providertest.ServiceAccount(t, "shop-1", email, "")
	_ = public
	for name, sent := range map[string]any{"an object": json.RawMessage(account), "a string": account, "a domain's": json.RawMessage(changed(t, account, "project_id", "example.com:shop-1"))} {
		n, err := s.Check(providertest.Input(t, map[string]any{"provider": "GOOGLE", "serviceAccount": sent, "projectId": "mine", "environment": "environment"}))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(n.Text("projectId"), "shop-1") || n.Text("environment") != "environment" || n.Properties["serviceAccount"] != nil || n.Secrets["serviceAccount"] == "" {
			t.Errorf("%s: %v %v", name, n.Properties, n.Secrets)
		}
		if strings.Contains(fmt.Sprint(n), "PRIVATE") {
			t.Errorf("printed it is %v", n)
		}
		n2 := n
		in := providertest.Input(t, map[string]any{"apiKey": "k"})
		in.Stored = &n2
		n, err = s.Check(in)
		if err != nil || n.Secrets["serviceAccount"] == "" || n.Secrets["apiKey"] != "k" || n.Text("projectId") == "" {
			t.Errorf("%s, with a key in addition: %v %v, %v", name, n.Properties, n.Secrets, err)
		}
	}
	block, _ := pem.Decode([]byte(jsonText(t, account, "private_key")))
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	pkcs1 := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key.(*rsa.PrivateKey))}))
	if _, err := s.Check(providertest.Input(t, map[string]any{"provider": "google", "serviceAccount": changed(t, account, "private_key", pkcs1)})); err != nil {
		t.Errorf("a key in PKCS#1: %v", err)
	}
}

func jsonText(t testing.TB, object, member string) string {
	t.Helper()
	var m map[string]string
	if err := json.Unmarshal([]byte(object), &m); err != nil {
		t.Fatal(err)
	}
	return m[member]
}

func TestTranslateRefuses(t *testing.T) {
	p := set(t)[provider.Google]
	n := provider.Notifier{Properties: map[string]json.RawMessage{"projectId": json.RawMessage(`"shop-1"`)}}
	for _, payload := range []string{
		`1`, `[]`, `null`, `true`, `{"from":1}`, `{"message_type":1}`, `{"gcm":1}`, `{"gcm.x":1}`, `{"google":1}`, `{"googleX":1}`,
		`{"time_to_live":"x"}`, `{"time_to_live":-1}`, `{"time_to_live":1.5}`, `{"priority":5}`, `{"collapse_key":1}`,
		`{"message":{"topic":"x"}}`, `{"message":{"condition":"x"}}`, `"` + strings.Repeat("x", 4096) + `"`, `{"a":"` + strings.Repeat("x", 4096) + `"}`,
	} {
		if got, err := p.Translate(n, json.RawMessage(payload)); !fault.Is(err, fault.IllegalArgument) {
			t.Errorf("%.40s is taken: %v, %v", payload, got, err)
		}
	}
	for payload, want := range map[string]string{
		`"x"`: `{"data":"x"}`, `{"a": 1, "priority":"high"}`: `{"a":1,"priority":"high"}`, `{"gcmx":1}`: `{"gcmx":1}`, `{"time_to_live":"60"}`: `{"time_to_live":"60"}`,
		`"` + strings.Repeat("x", 4096-len(`{"data":""}`)) + `"`: `{"data":"` + strings.Repeat("x", 4096-len(`{"data":""}`)) + `"}`,
	} {
		if got, err := p.Translate(n, json.RawMessage(payload)); err != nil || string(got.Receipt()) != want {
			t.Errorf("%.40s becomes %v, %v", payload, got, err)
		}
	}
}

// FuzzTranslate: what is taken is an object within the limit.
func FuzzTranslate(f *testing.F) {
	for _, seed := range []string{`"x"`, `{"a":1,"time_to_live":60,"priority":"high","collapse_key":"c"}`, `{"message":{"notification":{},"token":"x"}}`, `{"message":{"topic":"x"}}`, `1`} {
		f.Add([]byte(seed), true)
	}
	p := set(f)[provider.Google]
	f.Fuzz(func(t *testing.T, payload []byte, v1 bool) {
		n := provider.Notifier{Properties: map[string]json.RawMessage{}}
		if v1 {
			n.Set("projectId", "shop-1")
		}
		got, err := p.Translate(n, payload)
		if err != nil {
			if !fault.Is(err, fault.IllegalArgument) {
				t.Fatalf("%q: %v", payload, err)
			}
			return
		}
		if body := got.Receipt(); !json.Valid(body) || !provider.IsObject(body) || len(body) > 4096 {
			t.Fatalf("%q becomes %q", payload, body)
		}
	})
}

// FuzzAccount: a service account of any bytes opens or is refused, and nothing panics.
func FuzzAccount(f *testing.F) {
	account, _ := providertest.ServiceAccount(f, "shop-1", email, "https://oauth2.googleapis.com/token")
	f.Add(account)
	f.Add(`{"project_id":"a","client_email":"b","private_key":"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"}`)
	s := set(f)
	f.Fuzz(func(t *testing.T, account string) {
		n, err := s.Check(providertest.Input(t, map[string]any{"provider": "google", "serviceAccount": account}))
		if err != nil {
			if code := fault.CodeOf(err); code != fault.IllegalArgument && code != fault.RequiredProperty {
				t.Fatal(err)
			}
			return
		}
		sender, err := s[provider.Google].Open(n)
		if err != nil {
			t.Fatalf("a notifier that is checked does not open: %v", err)
		}
		sender.Close()
	})
}
