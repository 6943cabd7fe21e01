package apns

import (
	"crypto/tls"
	"encoding/asn1"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/trellisdb/trellis/push/provider"
	"github.com/trellisdb/trellis/push/providertest"
)

// contents takes the authenticated safe of a file apart.
func contents(t *testing.T, file []byte) (pfx, []asn1.RawValue) {
	t.Helper()
	var f pfx
	var octets []byte
	var parts []asn1.RawValue
	if err := unmarshal(file, &f); err != nil {
		t.Fatal(err)
	}
	if err := unmarshal(f.AuthSafe.Content.Bytes, &octets); err != nil {
		t.Fatal(err)
	}
	if err := unmarshal(octets, &parts); err != nil {
		t.Fatal(err)
	}
	return f, parts
}

// rebuilt is a file of other contents.
func rebuilt(t *testing.T, parts ...asn1.RawValue) []byte {
	t.Helper()
	safe, err := asn1.Marshal(parts)
	if err != nil {
		t.Fatal(err)
	}
	file, err := withMAC(safe, macPasswords("pw")[0])
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// TestKeysOutsideOfWhatIsEncrypted: a file without one, or with two, is not opened, since
// one that hides in what is encrypted could want any number of iterations.
func TestKeysOutsideOfWhatIsEncrypted(t *testing.T) {
	file, _ := providertest.P12(t, providertest.Certificate{Password: "pw", Encoder: pkcs12.Modern})
	_, parts := contents(t, file)
	if len(parts) != 2 { // the certificates, encrypted, and the key
		t.Fatalf("the file has %d contents", len(parts))
	}
	if _, err := openP12(rebuilt(t, parts[1], parts[0]), "pw"); err != nil {
		t.Fatalf("the other order: %v", err)
	}
	for name, file := range map[string][]byte{
		"no key": rebuilt(t, parts[0]), "no key, twice": rebuilt(t, parts[0], parts[0]), "two keys": rebuilt(t, parts[1], parts[1]), "nothing": rebuilt(t),
	} {
		if _, err := openP12(file, "pw"); err == nil || !strings.Contains(err.Error(), "keys") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestRefusedHandshake: a certificate may be refused before anything is said. By TLS 1.2
// the client is sure to hear of it; by 1.3 the connection may be gone before it does, and
// then the service counts as unreachable.
func TestRefusedHandshake(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.EnableHTTP2 = true
	s.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	cfg := provider.DefaultConfig()
	cfg.APNSProduction = s.URL
	cfg.RootCAs = s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	file, _ := providertest.P12(t, providertest.Certificate{UserID: "a.b"})
	n := providertest.Check(t, p, map[string]any{"provider": "apple", "environment": "production", "p12Certificate": file})
	sender, err := p.Open(n)
	if err != nil {
		t.Fatal(err)
	}
	defer sender.Close()
	payload, err := p.Translate(n, []byte(`"x"`))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if got := sender.Send(t.Context(), provider.Message{Token: "ab12", Payload: payload}); got.Outcome != provider.Blocked || got.Code != "BadCertificate" {
			t.Errorf("it comes to %+v", got)
		}
	}
}
