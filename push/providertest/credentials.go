package providertest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"sync"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"
)

// rsaKey is one for the whole process: they take long to make.
var rsaKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// PEM writes a key as PKCS#8 in PEM, as .p8 files and service accounts have it.
func PEM(t testing.TB, key crypto.PrivateKey) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// AuthKey makes a .p8 key of Apple's.
func AuthKey(t testing.TB) (text string, public *ecdsa.PublicKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return PEM(t, key), &key.PublicKey
}

// ServiceAccount makes the JSON text of a Google service account.
func ServiceAccount(t testing.TB, project, email, tokenURL string) (text string, public *rsa.PublicKey) {
	t.Helper()
	key, err := rsaKey()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(map[string]string{
		"type": "service_account", "project_id": project, "private_key_id": "k1",
		"private_key": PEM(t, key), "client_email": email, "token_uri": tokenURL,
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(raw), &key.PublicKey
}

// Certificate says what P12 makes.
type Certificate struct {
	UserID   string   // attribute UID of the subject; empty: none
	Topics   []string // Apple's list; none: no such extension
	NotAfter time.Time
	RSA      bool // else ECDSA, which is faster
	Password string
	Encoder  *pkcs12.Encoder // nil: pkcs12.Modern
}

// P12 makes a certificate with its key, in a file.
func P12(t testing.TB, c Certificate) (file []byte, leaf *x509.Certificate) {
	t.Helper()
	leaf, key := c.Leaf(t)
	encoder := c.Encoder
	if encoder == nil {
		encoder = pkcs12.Modern
	}
	file, err := encoder.Encode(key, leaf, nil, c.Password)
	if err != nil {
		t.Fatal(err)
	}
	return file, leaf
}

// Leaf makes the certificate and its key.
func (c Certificate) Leaf(t testing.TB) (*x509.Certificate, crypto.Signer) {
	t.Helper()
	var key crypto.Signer
	var err error
	if c.RSA {
		key, err = rsaKey()
	} else {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	if c.NotAfter.IsZero() {
		c.NotAfter = time.Now().Add(300 * 24 * time.Hour)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(4711),
		Subject:      pkix.Name{CommonName: "Apple Push Services: " + c.UserID, Organization: []string{"Example, Inc."}, Country: []string{"US"}},
		NotBefore:    c.NotAfter.Add(-400 * 24 * time.Hour).Truncate(time.Second),
		NotAfter:     c.NotAfter,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if c.UserID != "" {
		template.Subject.ExtraNames = []pkix.AttributeTypeAndValue{{Type: asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 1}, Value: c.UserID}}
	}
	if len(c.Topics) > 0 {
		var items []asn1.RawValue
		for _, topic := range c.Topics {
			items = append(items, asn1.RawValue{Tag: asn1.TagUTF8String, Bytes: []byte(topic)})
			kinds, err := asn1.Marshal([]asn1.RawValue{{Tag: asn1.TagUTF8String, Bytes: []byte("app")}})
			if err != nil {
				t.Fatal(err)
			}
			items = append(items, asn1.RawValue{FullBytes: kinds})
		}
		value, err := asn1.Marshal(items)
		if err != nil {
			t.Fatal(err)
		}
		template.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 840, 113635, 100, 6, 3, 6}, Value: value}}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return leaf, key
}
