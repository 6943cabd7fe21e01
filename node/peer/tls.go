package peer

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
)

// TLSFiles are paths of PEM files. They are read by Listen; renewed ones take a
// new start of the node.
//
// Each side presents Cert and checks that the other's is signed by CA and may
// be used for its side: a certificate with an extended key usage needs both
// server and client authentication. Host names are not compared, since nodes
// change addresses: CA should sign certificates of nodes only. TLS is 1.3 or
// newer.
type TLSFiles struct {
	Cert string // certificate of this node, and the chain up to CA
	Key  string // private key of Cert
	CA   string // certificates of the authorities that sign those of nodes
}

// tlsConfigs are the two sides of a node's TLS. The nil one is plain TCP.
type tlsConfigs struct {
	server, client *tls.Config
}

// tlsError is what ended a TLS handshake, be it the connection below.
type tlsError struct{ cause error }

func (e *tlsError) Error() string { return "tls handshake: " + e.cause.Error() }
func (e *tlsError) Unwrap() error { return e.cause }

func loadTLS(files TLSFiles) (*tlsConfigs, error) {
	own, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		return nil, fmt.Errorf("load certificate %s with key %s: %w", files.Cert, files.Key, err)
	}
	pem, err := os.ReadFile(files.CA)
	if err != nil {
		return nil, fmt.Errorf("read certificates of authorities: %w", err)
	}
	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", files.CA)
	}
	return &tlsConfigs{
		server: &tls.Config{
			MinVersion:   tls.VersionTLS13,
			Certificates: []tls.Certificate{own},
			ClientAuth:   tls.RequireAndVerifyClientCert,
			ClientCAs:    authorities,
			// Every handshake looks at a certificate, none at a ticket of an older one.
			SessionTicketsDisabled: true,
		},
		client: &tls.Config{
			MinVersion:   tls.VersionTLS13,
			Certificates: []tls.Certificate{own},
			// The library checks names only together with the chain; verifyChain
			// checks the chain alone.
			InsecureSkipVerify: true,
			VerifyConnection:   func(s tls.ConnectionState) error { return verifyChain(s, authorities) },
		},
	}, nil
}

// verifyChain checks that the acceptor's certificate is signed by one of the
// authorities.
func verifyChain(s tls.ConnectionState, authorities *x509.CertPool) error {
	if len(s.PeerCertificates) == 0 {
		return errors.New("no certificate")
	}
	between := x509.NewCertPool()
	for _, c := range s.PeerCertificates[1:] {
		between.AddCert(c)
	}
	_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{
		Roots:         authorities,
		Intermediates: between,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	return err
}

func (t *tlsConfigs) accept(raw net.Conn) (net.Conn, [bindingBytes]byte, error) {
	if t == nil {
		return raw, [bindingBytes]byte{}, nil
	}
	return bind(tls.Server(raw, t.server))
}

func (t *tlsConfigs) dial(raw net.Conn) (net.Conn, [bindingBytes]byte, error) {
	if t == nil {
		return raw, [bindingBytes]byte{}, nil
	}
	return bind(tls.Client(raw, t.client))
}

// bind runs the TLS handshake and returns what names the channel, the same at
// both its ends and nowhere else (RFC 9266, tls-exporter).
func bind(c *tls.Conn) (net.Conn, [bindingBytes]byte, error) {
	var binding [bindingBytes]byte
	if err := c.Handshake(); err != nil {
		return nil, binding, &tlsError{err}
	}
	state := c.ConnectionState()
	exported, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, bindingBytes)
	if err != nil {
		return nil, binding, &tlsError{err}
	}
	return c, [bindingBytes]byte(exported), nil
}
