package providertest

import (
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// FCM is Google's token endpoint and the HTTP v1 API of its service. Devices are named
// by their token. The token endpoint is scripted as the device "oauth".
type FCM struct {
	service
	accounts struct {
		sync.Mutex
		by      map[string]fcmAccount // by address
		granted map[string]string     // access token → project
		issued  int
	}
	// ExpiresIn is what tokens of access are said to last; 0: an hour. Set it before
	// the first one.
	ExpiresIn time.Duration
}

type fcmAccount struct {
	project string
	public  *rsa.PublicKey
}

// OAuth is the name under which token endpoints are scripted and counted.
const OAuth = "oauth"

// NewFCM starts one.
func NewFCM(t testing.TB) *FCM {
	t.Helper()
	f := &FCM{}
	f.accounts.by, f.accounts.granted = map[string]fcmAccount{}, map[string]string{}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", f.token)
	mux.HandleFunc("POST /v1/projects/{project}/{verb}", f.send)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		f.complain("FCM: %s %s", r.Method, r.URL.Path)
		http.NotFound(w, r)
	})
	f.start(t, mux, nil)
	return f
}

// TokenURL is the token endpoint's.
func (f *FCM) TokenURL() string { return f.URL() + "/token" }

// AddAccount makes it know a service account.
func (f *FCM) AddAccount(project, email string, public *rsa.PublicKey) {
	f.accounts.Lock()
	defer f.accounts.Unlock()
	f.accounts.by[email] = fcmAccount{project, public}
}

// Revoke ends all tokens of access.
func (f *FCM) Revoke() {
	f.accounts.Lock()
	defer f.accounts.Unlock()
	clear(f.accounts.granted)
}

func (f *FCM) token(w http.ResponseWriter, r *http.Request) {
	body := f.body(r)
	r.Body = http.NoBody
	answer := f.got(r, OAuth, body)
	if !f.hold(w, r, answer) {
		return
	}
	form := parseForm(body)
	if answer.Status == 0 && form.Get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" {
		f.complain("FCM: grant type %q", form.Get("grant_type"))
	}
	project, why := f.verify(form.Get("assertion"))
	switch {
	case answer.Status != 0:
		if answer.Body == "" {
			answer.Body = fmt.Sprintf(`{"error":%q,"error_description":%q}`, answer.Reason, described(answer, form.Encode()))
		}
		w.WriteHeader(answer.Status)
		fmt.Fprint(w, answer.Body)
		return
	case why != "":
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `{"error":"invalid_grant","error_description":%q}`, why)
		return
	}
	f.accounts.Lock()
	f.accounts.issued++
	token := fmt.Sprintf("ya29.access-%d", f.accounts.issued)
	f.accounts.granted[token] = project
	f.accounts.Unlock()
	lasts := f.ExpiresIn
	if lasts == 0 {
		lasts = time.Hour
	}
	fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer","expires_in":%d}`, token, int(lasts.Seconds()))
}

// described is what an endpoint says of a refusal.
func described(a Answer, form string) string {
	if a.Echo {
		return form
	}
	return "scripted"
}

// verify checks an assertion; why is empty if it is good.
func (f *FCM) verify(assertion string) (project, why string) {
	parsed, err := jose.ParseSignedCompact(assertion, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		return "", "no RS256 token"
	}
	var claims struct {
		Issuer   string `json:"iss"`
		Subject  string `json:"sub"`
		Audience string `json:"aud"`
		Scope    string `json:"scope"`
		Issued   int64  `json:"iat"`
		Expires  int64  `json:"exp"`
	}
	if err := json.Unmarshal(parsed.UnsafePayloadWithoutVerification(), &claims); err != nil {
		return "", "no claims"
	}
	f.accounts.Lock()
	account, ok := f.accounts.by[claims.Issuer]
	f.accounts.Unlock()
	if !ok {
		return "", "unknown account"
	}
	if _, err := parsed.Verify(account.public); err != nil {
		return "", "bad signature"
	}
	switch {
	case claims.Subject != claims.Issuer:
		f.complain("FCM: the subject %q is not the issuer", claims.Subject)
	case claims.Audience != f.TokenURL():
		f.complain("FCM: the audience is %q", claims.Audience)
	case claims.Scope != "https://www.googleapis.com/auth/firebase.messaging":
		f.complain("FCM: the scope is %q", claims.Scope)
	case claims.Expires <= claims.Issued || claims.Expires-claims.Issued > 3600:
		f.complain("FCM: an assertion for %d s", claims.Expires-claims.Issued)
	}
	return account.project, ""
}

// fcmMessage is a request of the v1 API, as far as it is checked.
type fcmMessage struct {
	ValidateOnly bool `json:"validate_only"`
	Message      struct {
		Token        string            `json:"token"`
		Topic        string            `json:"topic"`
		Condition    string            `json:"condition"`
		Data         map[string]string `json:"data"` // others than strings are refused
		Notification map[string]any    `json:"notification"`
		Android      struct {
			TTL      string `json:"ttl"`
			Priority string `json:"priority"`
		} `json:"android"`
	} `json:"message"`
}

func (f *FCM) send(w http.ResponseWriter, r *http.Request) {
	body := f.body(r)
	var m fcmMessage
	malformed := json.Unmarshal(body, &m) != nil
	answer := f.got(r, m.Message.Token, body)
	if !f.hold(w, r, answer) {
		return
	}
	if answer.Status == 0 {
		answer = f.judge(r, m, malformed, answer)
	}
	switch {
	case answer.Status != http.StatusOK:
		refuse(w, r, answer, m.Message.Token)
		return
	case answer.Body != "":
		fmt.Fprint(w, answer.Body)
		return
	}
	fmt.Fprintf(w, `{"name":"projects/%s/messages/0:%d"}`, r.PathValue("project"), f.Total())
}

// judge is what Google says of a request that nothing was scripted for.
func (f *FCM) judge(r *http.Request, m fcmMessage, malformed bool, a Answer) Answer {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	f.accounts.Lock()
	project, ok := f.accounts.granted[token]
	f.accounts.Unlock()
	switch {
	case !ok:
		return Answer{Status: http.StatusUnauthorized, Body: googleError(http.StatusUnauthorized, "UNAUTHENTICATED", "Request had invalid authentication credentials.", "")}
	case r.PathValue("verb") != "messages:send":
		f.complain("FCM: %s", r.URL.Path)
		return Answer{Status: http.StatusNotFound, Body: "<html>not found</html>"}
	case project != r.PathValue("project"):
		return Answer{Status: http.StatusForbidden, Body: googleError(http.StatusForbidden, "PERMISSION_DENIED", "The caller does not have permission", "")}
	case malformed || m.Message.Token == "":
		f.complain("FCM: a message that it cannot read, or to nobody")
	case m.Message.Topic != "" || m.Message.Condition != "":
		f.complain("FCM: a message to a topic")
	case !slices.Contains([]string{"", "HIGH", "NORMAL"}, m.Message.Android.Priority):
		f.complain("FCM: priority %q", m.Message.Android.Priority)
	case m.Message.Android.TTL != "" && !strings.HasSuffix(m.Message.Android.TTL, "s"):
		f.complain("FCM: ttl %q", m.Message.Android.TTL)
	case r.Header.Get("Content-Type") != "application/json":
		f.complain("FCM: content type %q", r.Header.Get("Content-Type"))
	}
	if m.ValidateOnly {
		return Answer{Status: http.StatusBadRequest, Body: googleError(http.StatusBadRequest, "INVALID_ARGUMENT", "The registration token is not a valid FCM registration token", "INVALID_ARGUMENT")}
	}
	a.Status = http.StatusOK
	return a
}

// refuse writes a failure of the v1 API.
func refuse(w http.ResponseWriter, r *http.Request, a Answer, token string) {
	if a.Body == "" {
		message := "scripted"
		if a.Echo {
			message = echo(r, token)
		}
		a.Body = googleError(a.Status, statusName(a.Status), message, a.Reason)
	}
	w.WriteHeader(a.Status)
	fmt.Fprint(w, a.Body)
}

// googleError is an error of Google's APIs; without a reason it has no detail of FCM.
func googleError(code int, status, message, reason string) string {
	inner := map[string]any{"code": code, "status": status, "message": message}
	if reason != "" {
		inner["details"] = []any{map[string]any{"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": reason}}
	}
	text, _ := json.Marshal(map[string]any{"error": inner})
	return string(text)
}

func statusName(code int) string {
	switch code {
	case http.StatusBadRequest:
		return "INVALID_ARGUMENT"
	case http.StatusUnauthorized:
		return "UNAUTHENTICATED"
	case http.StatusForbidden:
		return "PERMISSION_DENIED"
	case http.StatusNotFound:
		return "NOT_FOUND"
	case http.StatusTooManyRequests:
		return "RESOURCE_EXHAUSTED"
	case http.StatusInternalServerError:
		return "INTERNAL"
	}
	return "UNAVAILABLE"
}
