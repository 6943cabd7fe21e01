package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/trellisdb/trellis/node/nodetest"
)

// certificate writes a self-signed certificate for loopback, which is its own
// authority, and returns its files and a pool that trusts it.
func certificate(t *testing.T) (cert, key string, pool *x509.CertPool) {
	t.Helper()
	secret, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "trellis"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &secret.PublicKey, secret)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool = x509.NewCertPool()
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool.AddCert(parsed)
	return cert, key, pool
}

// With certificates configured the API speaks TLS alone, and nodes that show each
// other certificates form a cluster.
func TestTLSForTheAPIAndBetweenNodes(t *testing.T) {
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	cert, key, pool := certificate(t)
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}}
	defer client.CloseIdleConnections()
	var addrs [2]string
	gossip := [2]string{nodetest.FreeAddr(t), nodetest.FreeAddr(t)}
	logs := &syncBuffer{}
	for i := range addrs {
		addrs[i] = nodetest.FreeAddr(t)
		cmd := exec.Command(path, "serve", "--data-dir", t.TempDir(), "--http-addr", addrs[i],
			"--cluster-addr", nodetest.FreeAddr(t), "--gossip-addr", gossip[i], "--bootstrap-expect", "2", "--join", gossip[1-i],
			"--tls-cert", cert, "--tls-key", key, "--cluster-cert", cert, "--cluster-key", key, "--cluster-ca", cert)
		cmd.Env = append(os.Environ(), "TRELLIS_CLUSTER_SECRET=shared", "TRELLIS_SUPERUSER_PASSWORD="+clusterPassword)
		cmd.Stdout, cmd.Stderr = logs, logs
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		p := &process{t: t, cmd: cmd}
		t.Cleanup(func() { _ = p.end(syscall.SIGKILL) }) // nothing is looked at afterwards
	}
	for _, addr := range addrs {
		for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
			res, err := client.Get("https://" + addr + "/status")
			if err == nil {
				_ = res.Body.Close() // only the status matters
				if res.StatusCode == http.StatusOK {
					break
				}
			}
			if time.Now().After(end) {
				t.Fatalf("%s does not serve: %v\n%s", addr, err, logs)
			}
		}
		if res, err := http.Get("http://" + addr + "/status"); err == nil {
			_ = res.Body.Close() // only the status matters
			if res.StatusCode == http.StatusOK {
				t.Error("the API is served without TLS")
			}
		}
	}
}
