package providertest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/trellisdb/trellis/storage/entity"
)

// nobody is the token that APNs knows no device by.
var nobody = strings.Repeat("0", 64)

// APNs is Apple's service. Devices are named by their token in hexadecimal.
type APNs struct {
	service
	keys struct {
		sync.Mutex
		by     map[string]apnsKey   // by key id
		certs  map[string]bool      // raw
		seen   map[string]time.Time // tokens that were verified, and when they were signed
		topics []string             // empty: all
	}
	clock func() time.Time
}

type apnsKey struct {
	team   string
	public *ecdsa.PublicKey
}

// NewAPNs starts one. Until AddKey or AddCertificate it takes nobody's word.
func NewAPNs(t testing.TB) *APNs {
	t.Helper()
	a := &APNs{clock: time.Now}
	a.keys.by, a.keys.certs, a.keys.seen = map[string]apnsKey{}, map[string]bool{}, map[string]time.Time{}
	a.start(t, http.HandlerFunc(a.serve), func(s *httptest.Server) {
		s.TLS = &tls.Config{ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12}
	})
	return a
}

// AddKey makes it take tokens that are signed by a key.
func (a *APNs) AddKey(team, keyID string, public *ecdsa.PublicKey) {
	a.keys.Lock()
	defer a.keys.Unlock()
	a.keys.by[keyID] = apnsKey{team, public}
}

// AddCertificate makes it take connections with a certificate.
func (a *APNs) AddCertificate(c *x509.Certificate) {
	a.keys.Lock()
	defer a.keys.Unlock()
	a.keys.certs[string(c.Raw)] = true
}

// SetTopics are those that it takes; none: all.
func (a *APNs) SetTopics(topics ...string) {
	a.keys.Lock()
	defer a.keys.Unlock()
	a.keys.topics = topics
}

// SetClock replaces the clock that tokens are held against.
func (a *APNs) SetClock(now func() time.Time) {
	a.keys.Lock()
	defer a.keys.Unlock()
	a.clock = now
}

// Tokens is how many different signed tokens there were.
func (a *APNs) Tokens() int {
	a.keys.Lock()
	defer a.keys.Unlock()
	return len(a.keys.seen)
}

func (a *APNs) serve(w http.ResponseWriter, r *http.Request) {
	device, ok := strings.CutPrefix(r.URL.Path, "/3/device/")
	body := a.body(r)
	if r.ProtoMajor != 2 {
		a.complain("APNs: a request by %s", r.Proto)
	}
	answer := a.got(r, device, body)
	id := r.Header.Get("apns-id")
	if id == "" {
		id = entity.NewID().String()
	}
	w.Header().Set("apns-id", id)
	if !a.hold(w, r, answer) {
		return
	}
	switch {
	case answer.Status != 0 && answer.Status != http.StatusOK:
	case r.Method != http.MethodPost:
		answer = Answer{Status: http.StatusMethodNotAllowed, Reason: "MethodNotAllowed"}
	case !ok:
		answer = Answer{Status: http.StatusNotFound, Reason: "BadPath"}
	default:
		answer.Status, answer.Reason = a.judge(r, device, body)
	}
	if answer.Status == http.StatusOK {
		return
	}
	if answer.Body == "" {
		said := map[string]any{"reason": answer.Reason}
		if answer.Timestamp != 0 {
			said["timestamp"] = answer.Timestamp
		}
		if answer.Echo {
			said["echo"] = echo(r, device)
			said["reason"] = r.Header.Get("Authorization")
		}
		text, _ := json.Marshal(said)
		answer.Body = string(text)
	}
	w.WriteHeader(answer.Status)
	fmt.Fprint(w, answer.Body)
}

// judge is what Apple says of a request that nothing was scripted for.
func (a *APNs) judge(r *http.Request, device string, body []byte) (int, string) {
	if status, reason := a.authorize(r); status != 0 {
		return status, reason
	}
	if status, reason := a.judgeTopic(r); status != 0 {
		return status, reason
	}
	a.judgeHeader(r)
	limit := 4096
	if r.Header.Get("apns-push-type") == "voip" {
		limit = 5120
	}
	switch {
	case len(body) == 0:
		return http.StatusBadRequest, "PayloadEmpty"
	case len(body) > limit:
		return http.StatusRequestEntityTooLarge, "PayloadTooLarge"
	case !json.Valid(body) || body[0] != '{':
		a.complain("APNs: the payload %q is no JSON object", body)
	case bytes.Contains(body, []byte(`"_apns"`)):
		a.complain("APNs: the payload %q holds _apns", body)
	}
	switch {
	case device == "":
		return http.StatusBadRequest, "MissingDeviceToken"
	case device == nobody || len(device)%2 == 1 || strings.ContainsFunc(device, func(c rune) bool { return !strings.ContainsRune("0123456789abcdef", c) }):
		return http.StatusBadRequest, "BadDeviceToken"
	}
	return http.StatusOK, ""
}

// authorize checks the signed token or the certificate.
func (a *APNs) authorize(r *http.Request) (int, string) {
	a.keys.Lock()
	defer a.keys.Unlock()
	if len(r.TLS.PeerCertificates) > 0 {
		switch {
		case r.Header.Get("Authorization") != "":
			return http.StatusForbidden, "Forbidden"
		case !a.keys.certs[string(r.TLS.PeerCertificates[0].Raw)]:
			return http.StatusForbidden, "BadCertificate"
		}
		return 0, ""
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "bearer ")
	if !ok {
		return http.StatusForbidden, "MissingProviderToken"
	}
	signed, ok := a.keys.seen[token]
	if !ok {
		if signed, ok = a.verify(token); !ok {
			return http.StatusForbidden, "InvalidProviderToken"
		}
		a.keys.seen[token] = signed
	}
	if age := a.clock().Sub(signed); age > time.Hour || age < -time.Hour {
		return http.StatusForbidden, "ExpiredProviderToken"
	}
	return 0, ""
}

// verify checks a signed token by a library that is not the client's; keys is held.
func (a *APNs) verify(token string) (time.Time, bool) {
	parsed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return time.Time{}, false
	}
	key, ok := a.keys.by[parsed.Signatures[0].Protected.KeyID]
	if !ok {
		return time.Time{}, false
	}
	payload, err := parsed.Verify(key.public)
	if err != nil {
		return time.Time{}, false
	}
	var claims struct {
		Issuer string `json:"iss"`
		Issued int64  `json:"iat"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil || claims.Issuer != key.team || claims.Issued == 0 {
		return time.Time{}, false
	}
	return time.Unix(claims.Issued, 0), true
}

// topicSuffixes are what the topics of push types end in.
var topicSuffixes = map[string]string{
	"alert": "", "background": "", "mdm": "", "voip": ".voip", "complication": ".complication", "fileprovider": ".pushkit.fileprovider",
	"location": ".location-query", "liveactivity": ".push-type.liveactivity", "pushtotalk": ".voip-ptt",
}

func (a *APNs) judgeTopic(r *http.Request) (int, string) {
	topic, kind := r.Header.Get("apns-topic"), r.Header.Get("apns-push-type")
	suffix, known := topicSuffixes[kind]
	a.keys.Lock()
	allowed := a.keys.topics
	a.keys.Unlock()
	switch {
	case !known:
		return http.StatusBadRequest, "InvalidPushType"
	case topic == "":
		return http.StatusBadRequest, "MissingTopic"
	case !strings.HasSuffix(topic, suffix):
		return http.StatusBadRequest, "BadTopic"
	case len(allowed) > 0 && !slices.Contains(allowed, strings.TrimSuffix(topic, suffix)):
		return http.StatusBadRequest, "TopicDisallowed"
	}
	return 0, ""
}

// judgeHeader complains about what the client is always to send rightly.
func (a *APNs) judgeHeader(r *http.Request) {
	priority := r.Header.Get("apns-priority")
	if !slices.Contains([]string{"", "1", "5", "10"}, priority) {
		a.complain("APNs: priority %q", priority)
	}
	if r.Header.Get("apns-push-type") == "background" && priority != "5" {
		a.complain("APNs: a background notification of priority %q", priority)
	}
	if _, err := strconv.ParseUint(r.Header.Get("apns-expiration"), 10, 63); err != nil {
		a.complain("APNs: expiration %q", r.Header.Get("apns-expiration"))
	}
	if id := r.Header.Get("apns-id"); id != "" {
		if parsed, ok := entity.ParseID(id); !ok || parsed.String() != id {
			a.complain("APNs: id %q", id)
		}
	}
	if len(r.Header.Get("apns-collapse-id")) > 64 {
		a.complain("APNs: a collapse id longer than 64 bytes")
	}
	for name, values := range r.Header {
		if strings.HasPrefix(strings.ToLower(name), "apns-") && len(values) > 1 {
			a.complain("APNs: %s twice", name)
		}
	}
}
