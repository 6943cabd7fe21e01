package apns

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"

	"github.com/go-jose/go-jose/v4"
)

// Who signs, as a notifier names it.
const (
	KeyID  = "BENCHKEY01"
	TeamID = "BENCHTEAM1"
	Topic  = "test.example.bench"
)

// nobody is the token that no device has: who sends to it tries its credentials.
var nobody = strings.Repeat("0", 64)

// maxPayload bounds what is read of a request.
const maxPayload = 8 << 10

// Device is what the service got for one device.
type Device struct {
	Requests int
	IDs      int // different apns-id among them: one for each notification
}

// Service is the stand-in. Its methods are safe for concurrent use.
type Service struct {
	server *httptest.Server
	key    *ecdsa.PrivateKey

	mu       sync.Mutex
	devices  map[string]map[string]int // requests, by token of a device and apns-id
	verified map[string]bool           // tokens of the sender
	refused  int
}

// Start starts a service on a free port. Close ends it.
func Start() (*Service, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the key of the push service: %w", err)
	}
	s := &Service{key: key, devices: map[string]map[string]int{}, verified: map[string]bool{}}
	s.server = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	s.server.EnableHTTP2 = true
	s.server.StartTLS()
	return s, nil
}

// Close ends the service and its connections.
func (s *Service) Close() {
	s.server.CloseClientConnections()
	s.server.Close()
}

// URL is where the service listens.
func (s *Service) URL() string { return s.server.URL }

// CA is the certificate, in PEM, that vouches for it.
func (s *Service) CA() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.server.Certificate().Raw})
}

// AuthKey is the key that notifications must be signed by, as a .p8 file has it.
func (s *Service) AuthKey() (string, error) {
	der, err := x509.MarshalPKCS8PrivateKey(s.key)
	if err != nil {
		return "", fmt.Errorf("write the key of the push service: %w", err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), nil
}

// Devices is what it got, by token of a device.
func (s *Service) Devices() map[string]Device {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[string]Device, len(s.devices))
	for token, ids := range s.devices {
		d := Device{IDs: len(ids)}
		for n := range maps.Values(ids) {
			d.Requests += n
		}
		all[token] = d
	}
	return all
}

// Refused is how many requests for devices it did not accept.
func (s *Service) Refused() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refused
}

func (s *Service) serve(w http.ResponseWriter, r *http.Request) {
	payload, err := io.ReadAll(io.LimitReader(r.Body, maxPayload))
	if err != nil {
		return // the sender was killed
	}
	token, isDevice := strings.CutPrefix(r.URL.Path, "/3/device/")
	id := r.Header.Get("apns-id")
	s.mu.Lock()
	status, reason := http.StatusOK, ""
	switch {
	case !isDevice || r.Method != http.MethodPost || r.ProtoMajor != 2:
		status, reason = http.StatusNotFound, "BadPath"
	case !s.signed(r.Header.Get("Authorization")):
		status, reason = http.StatusForbidden, "InvalidProviderToken"
	case r.Header.Get("apns-topic") != Topic:
		status, reason = http.StatusBadRequest, "BadTopic"
	case token == nobody:
		status, reason = http.StatusBadRequest, "BadDeviceToken"
	case id == "" || !json.Valid(payload):
		status, reason = http.StatusBadRequest, "BadMessageId"
	}
	if status == http.StatusOK {
		if s.devices[token] == nil {
			s.devices[token] = map[string]int{}
		}
		s.devices[token][id]++
	} else if token != nobody {
		s.refused++
	}
	s.mu.Unlock()
	w.Header().Set("apns-id", id)
	w.WriteHeader(status)
	if reason != "" {
		_, _ = fmt.Fprintf(w, `{"reason":%q}`, reason) // the sender may have been killed
	}
}

// signed verifies the token of a sender, once; mu is held.
func (s *Service) signed(header string) bool {
	token, found := strings.CutPrefix(header, "bearer ")
	if !found || s.verified[token] {
		return found
	}
	parsed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil || parsed.Signatures[0].Protected.KeyID != KeyID {
		return false
	}
	claims, err := parsed.Verify(&s.key.PublicKey)
	var of struct {
		Issuer string `json:"iss"`
	}
	if err != nil || json.Unmarshal(claims, &of) != nil || of.Issuer != TeamID {
		return false
	}
	s.verified[token] = true
	return true
}
