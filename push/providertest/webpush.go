package providertest

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// WebPush is a push service for browsers together with the browsers: it decrypts what it
// gets. Devices are named as the client likes: Subscribe.
type WebPush struct {
	service
	browsers struct {
		sync.Mutex
		by     map[string]browser
		tokens map[string]bool // VAPID tokens
	}
}

type browser struct {
	key    *ecdh.PrivateKey
	auth   []byte
	server string // the VAPID key it subscribed with; empty: any
}

// NewWebPush starts one.
func NewWebPush(t testing.TB) *WebPush {
	t.Helper()
	s := &WebPush{}
	s.browsers.by, s.browsers.tokens = map[string]browser{}, map[string]bool{}
	s.start(t, http.HandlerFunc(s.serve), nil)
	return s
}

// Subscribe makes a browser's subscription for a server's public VAPID key; if that is
// empty, for any. It is the JSON text that a page would store.
func (s *WebPush) Subscribe(device, vapidPublicKey string) string {
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	auth := make([]byte, 16)
	_, _ = rand.Read(auth) // it does not fail
	s.browsers.Lock()
	s.browsers.by[device] = browser{key, auth, vapidPublicKey}
	s.browsers.Unlock()
	b64 := base64.RawURLEncoding
	text, _ := json.Marshal(map[string]any{
		"endpoint":       s.Endpoint(device),
		"expirationTime": nil,
		"keys":           map[string]string{"p256dh": b64.EncodeToString(key.PublicKey().Bytes()), "auth": b64.EncodeToString(auth)},
	})
	return string(text)
}

// Endpoint is the URL of a device.
func (s *WebPush) Endpoint(device string) string { return s.URL() + "/push/" + url.PathEscape(device) }

// Tokens is how many different VAPID tokens there were.
func (s *WebPush) Tokens() int {
	s.browsers.Lock()
	defer s.browsers.Unlock()
	return len(s.browsers.tokens)
}

func (s *WebPush) serve(w http.ResponseWriter, r *http.Request) {
	device, ok := strings.CutPrefix(r.URL.Path, "/push/")
	body := s.body(r)
	s.browsers.Lock()
	b, known := s.browsers.by[device]
	s.browsers.Unlock()
	var plain []byte
	if known {
		var err error
		if plain, err = decrypt(b, body); err != nil {
			s.complain("web push: the message for %s: %v", device, err)
		}
	}
	answer := s.got(r, device, plain)
	if !s.hold(w, r, answer) {
		return
	}
	switch {
	case answer.Status != 0:
	case !ok || r.Method != http.MethodPost:
		s.complain("web push: %s %s", r.Method, r.URL.Path)
		answer.Status = http.StatusNotFound
	case !known:
		answer.Status = http.StatusNotFound
	case len(body) > 4096:
		answer.Status = http.StatusRequestEntityTooLarge
	default:
		s.judgeHeader(r)
		answer.Status = s.authorize(r, b)
	}
	if answer.Status == http.StatusCreated {
		w.Header().Set("Location", s.URL()+"/message/"+strconv.Itoa(s.Total()))
	}
	if answer.Echo {
		answer.Body = echo(r, s.Endpoint(device))
	}
	w.WriteHeader(answer.Status)
	fmt.Fprint(w, answer.Body)
}

// judgeHeader complains about what the client is always to send rightly.
func (s *WebPush) judgeHeader(r *http.Request) {
	if _, err := strconv.ParseUint(r.Header.Get("TTL"), 10, 32); err != nil {
		s.complain("web push: TTL %q", r.Header.Get("TTL"))
	}
	if !slices.Contains([]string{"very-low", "low", "normal", "high"}, r.Header.Get("Urgency")) {
		s.complain("web push: urgency %q", r.Header.Get("Urgency"))
	}
	if r.Header.Get("Content-Encoding") != "aes128gcm" {
		s.complain("web push: encoding %q", r.Header.Get("Content-Encoding"))
	}
	if len(r.Header.Get("Topic")) > 32 {
		s.complain("web push: topic %q", r.Header.Get("Topic"))
	}
}

// authorize checks the VAPID header (RFC 8292) by a library that is not the client's.
func (s *WebPush) authorize(r *http.Request, b browser) int {
	rest, ok := strings.CutPrefix(r.Header.Get("Authorization"), "vapid t=")
	token, key, ok2 := strings.Cut(rest, ", k=")
	if !ok || !ok2 {
		return http.StatusUnauthorized
	}
	point, err := base64.RawURLEncoding.DecodeString(key)
	if err != nil {
		return http.StatusUnauthorized
	}
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return http.StatusUnauthorized
	}
	parsed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return http.StatusUnauthorized
	}
	payload, err := parsed.Verify(public)
	if err != nil {
		return http.StatusUnauthorized
	}
	var claims struct {
		Audience string `json:"aud"`
		Expires  int64  `json:"exp"`
		Subject  string `json:"sub"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		return http.StatusUnauthorized
	}
	left := time.Until(time.Unix(claims.Expires, 0))
	switch {
	case claims.Audience != s.URL():
		s.complain("web push: the audience is %q", claims.Audience)
		return http.StatusForbidden
	case left <= 0 || left > 24*time.Hour:
		return http.StatusForbidden
	case !strings.HasPrefix(claims.Subject, "mailto:") && !strings.HasPrefix(claims.Subject, "https:"):
		s.complain("web push: the subject is %q", claims.Subject)
	case b.server != "" && b.server != key:
		return http.StatusForbidden
	}
	s.browsers.Lock()
	s.browsers.tokens[token] = true
	s.browsers.Unlock()
	return http.StatusCreated
}

// decrypt opens a message as a browser does (RFC 8188, RFC 8291).
func decrypt(b browser, body []byte) ([]byte, error) {
	if len(body) < 21 {
		return nil, errors.New("it is too short")
	}
	salt, size, idLength := body[:16], binary.BigEndian.Uint32(body[16:20]), int(body[20])
	if len(body) < 21+idLength || len(body)-21-idLength > int(size) {
		return nil, fmt.Errorf("it has %d bytes, and a record %d", len(body), size)
	}
	sender, record := body[21:21+idLength], body[21+idLength:]
	public, err := ecdh.P256().NewPublicKey(sender)
	if err != nil {
		return nil, err
	}
	shared, err := b.key.ECDH(public)
	if err != nil {
		return nil, err
	}
	extracted, err := hkdf.Extract(sha256.New, shared, b.auth)
	if err != nil {
		return nil, err
	}
	info := "WebPush: info\x00" + string(b.key.PublicKey().Bytes()) + string(sender)
	material, err := hkdf.Expand(sha256.New, extracted, info, 32)
	if err != nil {
		return nil, err
	}
	random, err := hkdf.Extract(sha256.New, material, salt)
	if err != nil {
		return nil, err
	}
	key, err := hkdf.Expand(sha256.New, random, "Content-Encoding: aes128gcm\x00", 16)
	if err != nil {
		return nil, err
	}
	nonce, err := hkdf.Expand(sha256.New, random, "Content-Encoding: nonce\x00", 12)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	padded, err := aead.Open(nil, nonce, record, nil)
	if err != nil {
		return nil, err
	}
	end := strings.TrimRight(string(padded), "\x00")
	if plain, ok := strings.CutSuffix(end, "\x02"); ok {
		return []byte(plain), nil
	}
	return nil, errors.New("its record does not end as a last one does")
}
