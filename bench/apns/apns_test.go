package apns_test

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/trellisdb/trellis/bench/apns"
)

// signer signs tokens as a server with the key of the notifier does.
func signer(t *testing.T, s *apns.Service) func(keyID, claims string) string {
	t.Helper()
	text, err := s.AuthKey()
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(text))
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return func(keyID, claims string) string {
		t.Helper()
		key := jose.JSONWebKey{Key: parsed.(*ecdsa.PrivateKey), KeyID: keyID}
		by, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, nil)
		if err != nil {
			t.Fatal(err)
		}
		signature, err := by.Sign([]byte(claims))
		if err != nil {
			t.Fatal(err)
		}
		token, err := signature.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
}

func TestServiceCountsWhatIsSignedAndRefusesTheRest(t *testing.T) {
	s, err := apns.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.CA())
	client := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}
	defer client.CloseIdleConnections()
	sign := signer(t, s)
	good := sign(apns.KeyID, `{"iss":"`+apns.TeamID+`"}`)
	for _, tc := range []struct {
		name, device, id, token, topic string
		want                           int
	}{
		{"first", "aa", "1", good, apns.Topic, 200},
		{"again", "aa", "1", good, apns.Topic, 200},
		{"another notification", "aa", "2", good, apns.Topic, 200},
		{"another device", "bb", "3", good, apns.Topic, 200},
		{"unsigned", "cc", "4", "e30.e30.e30", apns.Topic, 403},
		{"another key", "cc", "4", sign("OTHER", `{"iss":"`+apns.TeamID+`"}`), apns.Topic, 403},
		{"another team", "cc", "4", sign(apns.KeyID, `{"iss":"X"}`), apns.Topic, 403},
		{"another topic", "cc", "4", good, "x", 400},
		{"nobody", strings.Repeat("0", 64), "4", good, apns.Topic, 400},
		{"no id", "cc", "", good, apns.Topic, 400},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL()+"/3/device/"+tc.device, strings.NewReader(`{"aps":{}}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "bearer "+tc.token)
		req.Header.Set("apns-topic", tc.topic)
		req.Header.Set("apns-id", tc.id)
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != tc.want {
			t.Errorf("%s: %d, want %d", tc.name, res.StatusCode, tc.want)
		}
	}
	got := s.Devices()
	if len(got) != 2 || got["aa"] != (apns.Device{Requests: 3, IDs: 2}) || got["bb"] != (apns.Device{Requests: 1, IDs: 1}) || s.Refused() != 5 {
		t.Errorf("got %v, refused %d", got, s.Refused())
	}
}
