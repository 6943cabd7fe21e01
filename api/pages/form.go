package pages

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/trellisdb/trellis/storage/fault"
)

// FormField is the field in which a form carries its token.
const FormField = "form_token"

// Layout of a form token, in base64url without padding:
//
//	expiry in ms 8 · HMAC-SHA-256 over expiry, purpose, cookie and path 32
const (
	formTokenBytes = 8 + sha256.Size

	cookieBytes = 16

	// maxCookies is how many cookies of our name are tried: a browser may hold
	// one for each directory above the page.
	maxCookies = 8
)

// VerifyForm checks that a form was sent by the one who was shown the page,
// with the token from FormField. The package comment says when a token is
// wanted. It returns IllegalArgument with a message that can be shown; the
// caller shows the form again, as a browser that was away for long deserves.
func (s *Site) VerifyForm(v Visit, purpose Purpose, token string) error {
	if declaresJSON(v.ContentType) {
		return nil
	}
	if v.fromElsewhere() {
		return fault.New(fault.IllegalArgument, "This form was sent from another site. Please fill it in here.")
	}
	cookies := v.cookies()
	if v.FetchSite == "" && v.Origin == "" && len(cookies) == 0 {
		return nil
	}
	if len(cookies) == 0 {
		return fault.New(fault.IllegalArgument, "Your browser did not send the cookie of this form. Please allow cookies for this site and send the form again.")
	}
	expires, mac, ok := readFormToken(token)
	if ok {
		ok = false
		for _, cookie := range cookies {
			ok = ok || hmac.Equal(mac, s.formMAC(expires, purpose, cookie, v.Path))
		}
	}
	if !ok || s.cfg.Now().UnixMilli() >= expires {
		return fault.New(fault.IllegalArgument, "This form is too old. Please send it again.")
	}
	return nil
}

func readFormToken(token string) (expires int64, mac []byte, ok bool) {
	if len(token) != base64.RawURLEncoding.EncodedLen(formTokenBytes) {
		return 0, nil, false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(b) != formTokenBytes {
		return 0, nil, false
	}
	return int64(binary.BigEndian.Uint64(b)), b[8:], true
}

// form makes the token of a form and the cookie that goes with it.
func (s *Site) form(v Visit, purpose Purpose) (token, cookie string) {
	var value string
	if held := v.cookies(); len(held) > 0 {
		value = held[0]
	} else {
		value = randomText(cookieBytes)
	}
	expires := s.cfg.Now().Add(s.cfg.FormLife).UnixMilli()
	b := binary.BigEndian.AppendUint64(nil, uint64(expires))
	b = append(b, s.formMAC(expires, purpose, value, v.Path)...)
	c := http.Cookie{
		Name:  v.cookieName(),
		Value: value,
		// No path: the browser takes the directory of the page, which is right
		// behind a proxy that hides a prefix, too.
		MaxAge:   int(s.cfg.FormLife / time.Second),
		HttpOnly: true,
		Secure:   v.secure(),
		SameSite: http.SameSiteStrictMode,
	}
	return base64.RawURLEncoding.EncodeToString(b), c.String()
}

func (s *Site) formMAC(expires int64, purpose Purpose, cookie, path string) []byte {
	h := hmac.New(sha256.New, s.cfg.Key[:])
	part := func(b []byte) { // never fails
		_, _ = h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(b))))
		_, _ = h.Write(b)
	}
	part([]byte("form"))
	part(binary.BigEndian.AppendUint64(nil, uint64(expires)))
	part([]byte(purpose))
	part([]byte(cookie))
	part([]byte(path))
	return h.Sum(nil)
}

func randomText(bytes int) string {
	b := make([]byte, bytes)
	_, _ = rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

// declaresJSON reports whether the client says that its body is JSON.
func declaresJSON(contentType string) bool {
	kind, _, err := mime.ParseMediaType(contentType)
	return err == nil && (kind == "application/json" || (strings.HasPrefix(kind, "application/") && strings.HasSuffix(kind, "+json")))
}

// fromElsewhere reports whether the browser says that another site sends.
func (v Visit) fromElsewhere() bool {
	if v.FetchSite != "" && v.FetchSite != "same-origin" && v.FetchSite != "none" {
		return true
	}
	if v.Origin == "" || v.Origin == "null" {
		return false
	}
	// A proxy that ends TLS may leave us with another scheme, so hosts decide.
	host := hostOf(v.Origin)
	return host == "" || host != hostOf(v.BaseURL)
}

// hostOf is the host of a URL in lower case, with a port unless it goes
// without saying; empty if there is none.
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	host := strings.ToLower(u.Host)
	switch u.Scheme {
	case "http":
		return strings.TrimSuffix(host, ":80")
	case "https":
		return strings.TrimSuffix(host, ":443")
	}
	return host
}

func (v Visit) secure() bool {
	return len(v.BaseURL) > 8 && strings.EqualFold(v.BaseURL[:8], "https://")
}

// cookieName begins with __Secure- where it may: then browsers take the cookie
// over TLS only.
func (v Visit) cookieName() string {
	if v.secure() {
		return "__Secure-trellis-form"
	}
	return "trellis-form"
}

// cookies are the values of our cookie, of which browsers send the one with
// the longest path first.
func (v Visit) cookies() []string {
	if v.Cookie == "" {
		return nil
	}
	sent := http.Request{Header: http.Header{"Cookie": {v.Cookie}}}
	var values []string
	for _, c := range sent.CookiesNamed(v.cookieName()) {
		if b, err := base64.RawURLEncoding.Strict().DecodeString(c.Value); err == nil && len(b) == cookieBytes && len(values) < maxCookies {
			values = append(values, c.Value)
		}
	}
	return values
}
