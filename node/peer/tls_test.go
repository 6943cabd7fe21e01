package peer

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// authority signs certificates of nodes.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	dir  string
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	ca := &authority{dir: t.TempDir()}
	ca.cert, ca.key = ca.sign(t, "ca", &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	return ca
}

// node makes the files of a node.
func (ca *authority) node(t testing.TB, usages ...x509.ExtKeyUsage) TLSFiles {
	t.Helper()
	ca.sign(t, "node", &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "node"},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: usages,
	})
	return TLSFiles{
		Cert: filepath.Join(ca.dir, "node.crt"), Key: filepath.Join(ca.dir, "node.key"), CA: filepath.Join(ca.dir, "ca.crt"),
	}
}

// sign writes name.crt and name.key; an authority without a certificate yet
// signs its own.
func (ca *authority) sign(t testing.TB, name string, cert *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert.NotBefore, cert.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := ca.cert, ca.key
	if parent == nil {
		parent, signer = cert, key
	}
	signed, err := x509.CreateCertificate(rand.Reader, cert, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		name + ".crt": {Type: "CERTIFICATE", Bytes: signed},
		name + ".key": {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(filepath.Join(ca.dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	parsed, err := x509.ParseCertificate(signed)
	if err != nil {
		t.Fatal(err)
	}
	return parsed, key
}

func withTLS(cfg Config, files TLSFiles) Config {
	cfg.TLS = &files
	return cfg
}

// TestMutualTLS: nodes with certificates of one authority talk, with and
// without usages in them.
func TestMutualTLS(t *testing.T) {
	ca := newAuthority(t)
	for name, usages := range map[string][]x509.ExtKeyUsage{
		"any usage":   nil,
		"both usages": {x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	} {
		t.Run(name, func(t *testing.T) {
			files := ca.node(t, usages...)
			a, b := start(t, withTLS(config("a"), files)), start(t, withTLS(config("b"), files))
			echo(t, b, LaneRPC)
			if got, err := exchange(t.Context(), a, b, LaneRPC, "text"); err != nil || got != "rpc text" {
				t.Errorf("got %q, %v", got, err)
			}
			refuses(t, a, b.Addr().String(), RaftLane(1, 1), ErrNoLane)
		})
	}
}

// TestTLSAndSecret: a certificate does not stand in for the secret.
func TestTLSAndSecret(t *testing.T) {
	files := newAuthority(t).node(t)
	other := withTLS(config("b"), files)
	other.Secret = []byte("another")
	a, b := start(t, withTLS(config("a"), files)), start(t, other)
	refuses(t, a, b.Addr().String(), LaneRPC, ErrRefused)
	awaitRefused(t, b, WrongSecret, 1)
}

// TestOtherAuthority: the secret does not stand in for a certificate, on
// either side.
func TestOtherAuthority(t *testing.T) {
	ours, theirs := newAuthority(t).node(t), newAuthority(t).node(t)
	mixed := theirs
	mixed.CA = ours.CA // believes in our authority, and is signed by theirs

	b := start(t, withTLS(config("b"), ours))
	echo(t, b, LaneRPC)
	a := start(t, withTLS(config("a"), mixed))
	if _, err := a.Dial(t.Context(), b.Addr().String(), LaneRPC); err == nil {
		t.Error("a dialler with a certificate of another authority got in")
	}
	awaitRefused(t, b, TLSFailed, 1)

	echo(t, a, LaneRPC)
	_, err := b.Dial(t.Context(), a.Addr().String(), LaneRPC)
	var unknown x509.UnknownAuthorityError
	if !errors.As(err, &unknown) {
		t.Errorf("dial an acceptor with a certificate of another authority: %v", err)
	}
	awaitRefused(t, a, TLSFailed, 1)
}

// TestOneUsageIsNotEnough: a certificate for clients serves no node.
func TestOneUsageIsNotEnough(t *testing.T) {
	ca := newAuthority(t)
	b := start(t, withTLS(config("b"), ca.node(t, x509.ExtKeyUsageClientAuth)))
	a := start(t, withTLS(config("a"), ca.node(t)))
	if _, err := a.Dial(t.Context(), b.Addr().String(), LaneRPC); err == nil {
		t.Error("dialled")
	}
}

// TestNoCertificate: a client without one is told nothing.
func TestNoCertificate(t *testing.T) {
	b := start(t, withTLS(config("b"), newAuthority(t).node(t)))
	register(t, b, LaneRPC)
	raw := connect(t, b)
	c := tls.Client(raw, &tls.Config{InsecureSkipVerify: true})
	if said, err := io.ReadAll(c); err == nil || len(said) > 0 {
		t.Errorf("read %x, %v", said, err)
	}
	awaitRefused(t, b, TLSFailed, 1)
}

// TestPlainMeetsTLS: the two do not talk, and say nothing useful to each other.
func TestPlainMeetsTLS(t *testing.T) {
	cfg := withTLS(config("b"), newAuthority(t).node(t))
	cfg.HandshakeTimeout = 200 * time.Millisecond
	secure, plain := start(t, cfg), start(t, config("a"))
	echo(t, secure, LaneRPC)
	echo(t, plain, LaneRPC)
	if _, err := plain.Dial(t.Context(), secure.Addr().String(), LaneRPC); err == nil {
		t.Error("plain dialled TLS")
	}
	awaitRefused(t, secure, Timeout, 1)
	if _, err := secure.Dial(t.Context(), plain.Addr().String(), LaneRPC); err == nil {
		t.Error("TLS dialled plain")
	}

	garbage := connect(t, secure)
	if _, err := garbage.Write([]byte("GET / HTTP/1.1\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	_, _ = io.ReadAll(garbage) // an alert
	awaitRefused(t, secure, TLSFailed, 1)
}

// TestPassedOnInTLS: somebody with a certificate and without the secret cannot
// pass the handshake of two nodes on from one TLS channel to another.
func TestPassedOnInTLS(t *testing.T) {
	files := newAuthority(t).node(t)
	a, b := start(t, withTLS(config("a"), files)), start(t, withTLS(config("b"), files))
	register(t, b, LaneRPC)
	between, err := loadTLS(files)
	if err != nil {
		t.Fatal(err)
	}
	addr := impostor(t, func(raw net.Conn) {
		in, _, err := between.accept(raw)
		if err != nil {
			t.Error(err)
			return
		}
		through, err := net.Dial("tcp", b.Addr().String())
		if err != nil {
			t.Error(err)
			return
		}
		defer through.Close()
		out, _, err := between.dial(through)
		if err != nil {
			t.Error(err)
			return
		}
		var returning sync.WaitGroup
		returning.Go(func() {
			_, _ = io.Copy(in, out)
			_ = raw.Close()
		})
		_, _ = io.Copy(out, in)
		_ = through.Close()
		returning.Wait()
	})
	refuses(t, a, addr, LaneRPC, ErrRefused)
	awaitRefused(t, b, WrongSecret, 1)
}
