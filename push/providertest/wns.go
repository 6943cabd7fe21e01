package providertest

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// WNS is Microsoft's token endpoint and the channels of its service. Devices are named
// as the client likes: Channel. The token endpoint is scripted as the device "oauth".
type WNS struct {
	service
	clients struct {
		sync.Mutex
		secrets map[string]string // id → secret
		granted map[string]bool
		issued  int
	}
	// ExpiresIn is what tokens of access are said to last; 0: a day. Set it before the
	// first one.
	ExpiresIn time.Duration
}

// NewWNS starts one.
func NewWNS(t testing.TB) *WNS {
	t.Helper()
	s := &WNS{}
	s.clients.secrets, s.clients.granted = map[string]string{}, map[string]bool{}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /accesstoken.srf", s.token)
	mux.HandleFunc("POST /channel/{device}", s.send)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.complain("WNS: %s %s", r.Method, r.URL.Path)
		http.NotFound(w, r)
	})
	s.start(t, mux, nil)
	return s
}

// TokenURL is the token endpoint's.
func (s *WNS) TokenURL() string { return s.URL() + "/accesstoken.srf" }

// Channel is the URL of a device.
func (s *WNS) Channel(device string) string { return s.URL() + "/channel/" + url.PathEscape(device) }

// AddClient makes it know a package, or a client of Entra.
func (s *WNS) AddClient(id, secret string) {
	s.clients.Lock()
	defer s.clients.Unlock()
	s.clients.secrets[id] = secret
}

// Revoke ends all tokens of access.
func (s *WNS) Revoke() {
	s.clients.Lock()
	defer s.clients.Unlock()
	clear(s.clients.granted)
}

// parseForm reads a form; what cannot be read is empty.
func parseForm(body []byte) url.Values {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return url.Values{}
	}
	return form
}

func (s *WNS) token(w http.ResponseWriter, r *http.Request) {
	body := s.body(r)
	answer := s.got(r, OAuth, body)
	if !s.hold(w, r, answer) {
		return
	}
	form := parseForm(body)
	if answer.Status != 0 {
		if answer.Body == "" {
			answer.Body = fmt.Sprintf(`{"error":%q,"error_description":%q}`, answer.Reason, described(answer, form.Encode()+" "+form.Get("client_secret")))
		}
		w.WriteHeader(answer.Status)
		fmt.Fprint(w, answer.Body)
		return
	}
	if form.Get("grant_type") != "client_credentials" ||
		!slices.Contains([]string{"notify.windows.com", "https://wns.windows.com/.default"}, form.Get("scope")) ||
		r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" {
		s.complain("WNS: a token is asked for by grant %q, scope %q, as %q", form.Get("grant_type"), form.Get("scope"), r.Header.Get("Content-Type"))
	}
	s.clients.Lock()
	defer s.clients.Unlock()
	if secret, ok := s.clients.secrets[form.Get("client_id")]; !ok || secret != form.Get("client_secret") {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"error":"invalid_client","error_description":"Invalid client id"}`)
		return
	}
	s.clients.issued++
	token := fmt.Sprintf("EgAcAQMAAAAA-%d", s.clients.issued)
	s.clients.granted[token] = true
	lasts := s.ExpiresIn
	if lasts == 0 {
		lasts = 24 * time.Hour
	}
	fmt.Fprintf(w, `{"token_type":"bearer","access_token":%q,"expires_in":%d}`, token, int(lasts.Seconds()))
}

func (s *WNS) send(w http.ResponseWriter, r *http.Request) {
	body := s.body(r)
	device := r.PathValue("device")
	answer := s.got(r, device, body)
	if !s.hold(w, r, answer) {
		return
	}
	if answer.Status == 0 {
		answer.Status = s.judge(r, body)
	}
	w.Header().Set("X-WNS-Msg-ID", fmt.Sprintf("%X", s.Total()))
	switch {
	case answer.Reason == "none": // no header at all
	case answer.Reason != "":
		w.Header().Set("X-WNS-Status", answer.Reason)
	case answer.Status == http.StatusOK:
		w.Header().Set("X-WNS-Status", "received")
	}
	if answer.Echo {
		w.Header().Set("X-WNS-Error-Description", echo(r, s.Channel(device)))
	}
	w.WriteHeader(answer.Status)
	fmt.Fprint(w, answer.Body)
}

// judge is what WNS says of a request that nothing was scripted for.
func (s *WNS) judge(r *http.Request, body []byte) int {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	s.clients.Lock()
	known := s.clients.granted[token]
	s.clients.Unlock()
	if !known {
		return http.StatusUnauthorized
	}
	if len(body) > 5000 {
		return http.StatusRequestEntityTooLarge
	}
	kind, ok := strings.CutPrefix(r.Header.Get("X-WNS-Type"), "wns/")
	content := r.Header.Get("Content-Type")
	switch {
	case !ok || !slices.Contains([]string{"toast", "badge", "tile", "raw"}, kind):
		s.complain("WNS: type %q", r.Header.Get("X-WNS-Type"))
	case kind == "raw" && content != "application/octet-stream", kind != "raw" && content != "text/xml":
		s.complain("WNS: %s as %q", kind, content)
	case kind != "raw":
		var root struct{ XMLName xml.Name }
		if err := xml.Unmarshal(body, &root); err != nil || root.XMLName.Local != kind {
			s.complain("WNS: the %s is %q", kind, body)
		}
	}
	if ttl := r.Header.Get("X-WNS-TTL"); ttl != "" {
		if _, err := strconv.ParseUint(ttl, 10, 63); err != nil {
			s.complain("WNS: ttl %q", ttl)
		}
	}
	if r.ContentLength < 0 {
		s.complain("WNS: a request without a length")
	}
	return http.StatusOK
}
