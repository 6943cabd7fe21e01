package apns_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/trellisdb/trellis/push/apns"
	"github.com/trellisdb/trellis/push/provider"
	"github.com/trellisdb/trellis/push/providertest"
	"github.com/trellisdb/trellis/storage/fault"
)

func set(t testing.TB, cfg provider.Config) provider.Set {
	t.Helper()
	p, err := apns.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return provider.Set{provider.Apple: p}
}

// with is body with some members changed; nil takes one away.
func with(body map[string]any, changes ...any) map[string]any {
	out := map[string]any{}
	for name, value := range body {
		out[name] = value
	}
	for i := 0; i < len(changes); i += 2 {
		if changes[i+1] == nil {
			delete(out, changes[i].(string))
			continue
		}
		out[changes[i].(string)] = changes[i+1]
	}
	return out
}

// TestCheckRefuses is the table of what is wrong with an apple notifier.
func TestCheckRefuses(t *testing.T) {
	s := set(t, provider.DefaultConfig())
	key, _ := providertest.AuthKey(t)
	good := map[string]any{"provider": "apple", "environment": "production", "authKey": key, "keyId": keyID, "teamId": team, "bundleId": bundle}
	file, _ := providertest.P12(t, providertest.Certificate{Password: "right"})
	expired, _ := providertest.P12(t, providertest.Certificate{NotAfter: time.Now().Add(-time.Hour)})
	certificate := map[string]any{"provider": "apple", "environment": "development", "p12Certificate": file, "certificatePassword": "right"}
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	rsaKey, _ := rsa.GenerateKey(rand.Reader, 2048)
	for _, tc := range []struct {
		name string
		body map[string]any
		want fault.Code
		says string
	}{
		{"no environment", with(good, "environment", nil), fault.IllegalArgument, "environment"},
		{"unknown environment", with(good, "environment", "testing"), fault.IllegalArgument, "environment"},
		{"certInfo", with(good, "certInfo", map[string]any{}), fault.IllegalArgument, "certInfo"},
		{"neither certificate nor key", with(good, "authKey", nil), fault.RequiredProperty, "p12Certificate"},
		{"empty certificate", with(certificate, "p12Certificate", ""), fault.RequiredProperty, "p12Certificate"},
		{"no base64", with(certificate, "p12Certificate", "!!!"), fault.IllegalArgument, "base64"},
		{"no p12", with(certificate, "p12Certificate", base64.StdEncoding.EncodeToString([]byte("hello"))), fault.IllegalArgument, "p12Certificate"},
		{"wrong password", with(certificate, "certificatePassword", "wrong"), fault.IllegalArgument, "certificatePassword"},
		{"no password", with(certificate, "certificatePassword", nil), fault.IllegalArgument, "certificatePassword"},
		{"password a number", with(certificate, "certificatePassword", 1), fault.IllegalArgument, "certificatePassword"},
		{"expired", with(certificate, "p12Certificate", expired, "certificatePassword", ""), fault.IllegalArgument, "expired"},
		{"too long", with(certificate, "p12Certificate", make([]byte, 100<<10)), fault.IllegalArgument, "longer"},
		{"no keyId", with(good, "keyId", nil), fault.RequiredProperty, "keyId"},
		{"no teamId", with(good, "teamId", nil), fault.RequiredProperty, "teamId"},
		{"no bundleId", with(good, "bundleId", nil), fault.RequiredProperty, "bundleId"},
		{"odd keyId", with(good, "keyId", "a/b"), fault.IllegalArgument, "keyId"},
		{"odd bundleId", with(good, "bundleId", "a b"), fault.IllegalArgument, "bundleId"},
		{"bundleId a number", with(good, "bundleId", 1), fault.IllegalArgument, "bundleId"},
		{"key no PEM", with(good, "authKey", "hello"), fault.IllegalArgument, "authKey"},
		{"key of P-384", with(good, "authKey", providertest.PEM(t, p384)), fault.IllegalArgument, "P-256"},
		{"key of RSA", with(good, "authKey", providertest.PEM(t, rsaKey)), fault.IllegalArgument, "P-256"},
		{"key no PKCS#8", with(good, "authKey", "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----"), fault.IllegalArgument, "PKCS#8"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := s.Check(providertest.Input(t, tc.body))
			if fault.CodeOf(err) != tc.want || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("it says %v, want %s that names %s", err, tc.want, tc.says)
			}
			if err != nil && strings.Contains(err.Error(), key[40:80]) {
				t.Errorf("the error holds the key: %v", err)
			}
		})
	}
	form := providertest.Input(t, map[string]any{"provider": "apple", "environment": "production"})
	form.Form = true
	if _, err := s.Check(form); !fault.Is(err, fault.IllegalArgument) {
		t.Errorf("a form without a file: %v", err)
	}
}

func TestCheckKey(t *testing.T) {
	s := set(t, provider.DefaultConfig())
	key, _ := providertest.AuthKey(t)
	n, err := s.Check(providertest.Input(t, map[string]any{
		"name": "ios", "provider": "Apple", "environment": "PRODUCTION", "authKey": key, "keyId": keyID, "teamId": team, "topic": bundle, "color": "red",
	}))
	if err != nil {
		t.Fatal(err)
	}
	for property, want := range map[string]string{
		"provider": "apple", "environment": "production", "keyId": keyID, "teamId": team, "bundleId": bundle, "name": "ios", "color": "red", "topic": "",
	} {
		if got := n.Text(property); got != want {
			t.Errorf("%s is %q, want %q", property, got, want)
		}
	}
	if _, ok := n.Properties["authKey"]; ok || n.Secrets["authKey"] == "" || len(n.Secrets) != 1 {
		t.Errorf("the secrets are %v, and the properties %v", n.Secrets, n.Properties)
	}
	if text := fmt.Sprintf("%v %+v %#v", n, n, n.Secrets); strings.Contains(text, "PRIVATE") {
		t.Errorf("printed it is %s", text)
	}
}

// TestCheckCertificate of each kind of file that tools write.
func TestCheckCertificate(t *testing.T) {
	s := set(t, provider.DefaultConfig())
	for name, c := range map[string]providertest.Certificate{
		"AES":             {Encoder: pkcs12.Modern, Password: "pw"},
		"AES, PBMAC1":     {Encoder: pkcs12.Modern2026, Password: "pw"},
		"3DES":            {Encoder: pkcs12.LegacyDES, Password: "pw"},
		"RC2":             {Encoder: pkcs12.LegacyRC2, Password: "pw"},
		"RSA":             {Encoder: pkcs12.Modern, Password: "pw", RSA: true},
		"empty password":  {Encoder: pkcs12.LegacyDES},
		"no password":     {Encoder: pkcs12.Passwordless},
		"odd characters":  {Encoder: pkcs12.Modern, Password: "päß wörd €"},
		"many iterations": {Encoder: pkcs12.Modern.WithIterations(100_000), Password: "pw"},
	} {
		t.Run(name, func(t *testing.T) {
			c.UserID = bundle
			file, _ := providertest.P12(t, c)
			n, err := s.Check(providertest.Input(t, map[string]any{
				"provider": "apple", "environment": "production", "p12Certificate": file, "certificatePassword": c.Password,
			}))
			if err != nil {
				t.Fatal(err)
			}
			if n.Text("bundleId") != bundle {
				t.Errorf("the topic is %q", n.Text("bundleId"))
			}
			sender, err := s[provider.Apple].Open(n)
			if err != nil {
				t.Fatal(err)
			}
			sender.Close()
		})
	}
}

func TestTooManyIterationsAreNotDone(t *testing.T) {
	s := set(t, provider.DefaultConfig())
	for name, encoder := range map[string]*pkcs12.Encoder{"AES": pkcs12.Modern, "3DES": pkcs12.LegacyDES} {
		file, _ := providertest.P12(t, providertest.Certificate{Encoder: encoder.WithIterations(1_000_001), Password: "pw"})
		_, err := s.Check(providertest.Input(t, map[string]any{
			"provider": "apple", "environment": "production", "p12Certificate": file, "certificatePassword": "pw",
		}))
		if !fault.Is(err, fault.IllegalArgument) || !strings.Contains(err.Error(), "iterations") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCertInfo(t *testing.T) {
	s := set(t, provider.DefaultConfig())
	until := time.Now().Add(100 * 24 * time.Hour).Truncate(time.Second).UTC()
	file, leaf := providertest.P12(t, providertest.Certificate{UserID: bundle, Topics: []string{bundle, bundle + ".voip"}, NotAfter: until, RSA: true})
	in := providertest.Input(t, map[string]any{"provider": "apple", "environment": "production", "certificatePassword": " "})
	in.Form, in.Files = true, map[string]provider.File{"p12Certificate": {Name: "push.p12", Content: file}}
	n, err := s.Check(in)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Filename string         `json:"filename"`
		Details  map[string]any `json:"details"`
	}
	if err := json.Unmarshal(n.Properties["certInfo"], &got); err != nil {
		t.Fatal(err)
	}
	if got.Filename != "push.p12" {
		t.Errorf("the file name is %q", got.Filename)
	}
	name := "UID=" + bundle + `, CN=Apple Push Services: ` + bundle + `, O="Example, Inc.", C=US`
	for member, want := range map[string]any{
		"subject": name, "issuer": name,
		"validFrom":          leaf.NotBefore.UTC().Format("Mon 02 Jan 2006 15:04:05 GMT"),
		"validFromTimestamp": float64(leaf.NotBefore.UnixMilli()),
		"validTo":            until.Format("Mon 02 Jan 2006 15:04:05 GMT"),
		"validToTimestamp":   float64(until.UnixMilli()),
		"serialNumber":       4711.0, "version": 3.0, "signatureAlgorithm": "SHA256withRSA", "subjectAlternativeNames": nil,
		"extendedKeyUsages": []any{"1.3.6.1.5.5.7.3.2"}, "basicConstraints": -1.0,
		"extensions": map[string]any{"1.2.840.113635.100.6.3.6": bundle + ", " + bundle + ".voip"},
	} {
		if fmt.Sprint(got.Details[member]) != fmt.Sprint(want) {
			t.Errorf("%s is %v, want %v", member, got.Details[member], want)
		}
	}
}

// TestTopicIsDerived in the order: given, user id, first of the extension.
func TestTopicIsDerived(t *testing.T) {
	s := set(t, provider.DefaultConfig())
	for _, tc := range []struct {
		given string
		c     providertest.Certificate
		want  string
	}{
		{"", providertest.Certificate{UserID: "a.b", Topics: []string{"c.d"}}, "a.b"},
		{"", providertest.Certificate{Topics: []string{"c.d", "e.f"}}, "c.d"},
		{"x.y", providertest.Certificate{UserID: "a.b", Topics: []string{"c.d"}}, "x.y"},
		{"", providertest.Certificate{}, ""},
	} {
		file, _ := providertest.P12(t, tc.c)
		n, err := s.Check(providertest.Input(t, map[string]any{"provider": "apple", "environment": "mock", "p12Certificate": file, "bundleId": tc.given}))
		if err != nil || n.Text("bundleId") != tc.want {
			t.Errorf("%+v: %q, %v", tc, n.Text("bundleId"), err)
		}
	}
}

// TestUpdates keep what is not sent, and let one kind of credentials take the place of
// the other.
func TestUpdates(t *testing.T) {
	s := set(t, provider.DefaultConfig())
	key, _ := providertest.AuthKey(t)
	file, _ := providertest.P12(t, providertest.Certificate{UserID: "a.b", Password: "pw"})
	update := func(stored provider.Notifier, body map[string]any) provider.Notifier {
		t.Helper()
		in := providertest.Input(t, body)
		in.Stored = &stored
		n, err := s.Check(in)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	n := update(provider.Notifier{}, map[string]any{"provider": "apple", "environment": "production", "p12Certificate": file, "certificatePassword": "pw"})
	n = update(n, map[string]any{"name": "ios", "environment": "development"})
	if n.Secrets["p12Certificate"] == "" || n.Secrets["certificatePassword"] != "pw" || n.Properties["certInfo"] == nil || n.Text("environment") != "development" {
		t.Fatalf("after a change of the environment: %v %v", n.Properties, n.Secrets)
	}
	n = update(n, map[string]any{"authKey": key, "keyId": keyID, "teamId": team})
	if len(n.Secrets) != 1 || n.Secrets["authKey"] == "" || n.Properties["certInfo"] != nil || n.Text("bundleId") != "a.b" {
		t.Fatalf("after a key: %v %v", n.Properties, n.Secrets)
	}
	n = update(n, map[string]any{"p12Certificate": file, "certificatePassword": "pw"})
	if n.Secrets["authKey"] != "" || n.Text("keyId") != "" || n.Properties["certInfo"] == nil {
		t.Fatalf("after a certificate: %v %v", n.Properties, n.Secrets)
	}
	in := providertest.Input(t, map[string]any{"certificatePassword": "other"})
	in.Stored = &n
	if _, err := s.Check(in); !fault.Is(err, fault.IllegalArgument) {
		t.Errorf("a password that does not open the stored certificate: %v", err)
	}
}
