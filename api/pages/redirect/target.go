package redirect

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/trellisdb/trellis/storage/fault"
)

// maxLength is how many bytes a redirect_uri may have.
const maxLength = 2048

// Target is a redirect_uri that has been checked. The zero Target is nowhere.
type Target struct {
	uri    string
	scheme string // lower case
	host   string // lower case, without port; empty for most custom schemes
}

// Parse checks a redirect_uri. It returns IllegalArgument for what is blank,
// not absolute, longer than 2048 bytes, has a fragment (RFC 6749 section
// 3.1.2), user information, or bytes a browser reads in a way of its own, for
// schemes that a browser runs or handles itself, and for what allow does not
// list.
func Parse(uri string, allow Allow) (Target, error) {
	u, err := parse(uri)
	if err != nil {
		return Target{}, err
	}
	if !allow.permits(u) {
		return Target{}, fault.New(fault.IllegalArgument, "redirect_uri is not on the list of those allowed")
	}
	return Target{uri: uri, scheme: u.Scheme, host: strings.ToLower(u.Hostname())}, nil
}

// parse is Parse without a list.
func parse(uri string) (*url.URL, error) {
	if uri == "" {
		return nil, fault.New(fault.IllegalArgument, "redirect_uri is missing")
	}
	if len(uri) > maxLength {
		return nil, fault.New(fault.IllegalArgument, "redirect_uri is longer than %d bytes", maxLength)
	}
	for i := range len(uri) {
		// A browser takes a backslash for a slash and drops control characters:
		// it would go to another host than the one that was checked.
		if c := uri[i]; c <= ' ' || c >= 0x7f || strings.IndexByte("\\<>\"^`{|}", c) >= 0 {
			return nil, fault.New(fault.IllegalArgument, "redirect_uri holds a character that must be escaped")
		}
	}
	if strings.Contains(uri, "#") {
		return nil, fault.New(fault.IllegalArgument, "redirect_uri has a fragment")
	}
	u, err := url.Parse(uri)
	if err != nil || !u.IsAbs() {
		return nil, fault.New(fault.IllegalArgument, "redirect_uri is not an absolute URI")
	}
	if u.User != nil {
		return nil, fault.New(fault.IllegalArgument, "redirect_uri names a user")
	}
	return u, checkScheme(u)
}

func checkScheme(u *url.URL) error {
	switch u.Scheme {
	case "http", "https":
		if u.Opaque != "" || u.Hostname() == "" {
			return fault.New(fault.IllegalArgument, "redirect_uri has no host")
		}
		return nil
	case "javascript", "data", "vbscript", "file", "blob", "about", "filesystem", "view-source", "intent",
		"jar", "chrome", "resource", "ws", "wss", "ftp", "mailto", "tel", "sms":
		return fault.New(fault.IllegalArgument, "redirect_uri has the scheme %s", u.Scheme)
	}
	if u.Opaque == "" && u.Host == "" && u.Path == "" && u.RawQuery == "" && !strings.Contains(u.String(), "//") {
		return fault.New(fault.IllegalArgument, "redirect_uri is a scheme alone")
	}
	return nil
}

// Scheme is http, https or a custom one, in lower case.
func (t Target) Scheme() string { return t.scheme }

// Name is what a person is told about where he goes: the host, or the scheme
// of an application on his device. It is empty for the zero Target.
func (t Target) Name() string {
	if t.host != "" && (t.scheme == "http" || t.scheme == "https") {
		return t.host
	}
	return t.scheme
}

// Code is the address for response_type=code: the target with code and, unless
// it is blank, state in its query.
func (t Target) Code(code, state string) string {
	separator := "?"
	if strings.Contains(t.uri, "?") {
		separator = "&"
		if strings.HasSuffix(t.uri, "?") || strings.HasSuffix(t.uri, "&") {
			separator = ""
		}
	}
	return t.uri + separator + pairs("code", code, "state", state)
}

// Token is the address for response_type=token: the target with access_token,
// expires_in in seconds and, unless it is blank, state in its fragment, which
// browsers do not send to servers.
func (t Target) Token(token string, seconds int64, state string) string {
	return t.uri + "#" + pairs("access_token", token, "expires_in", strconv.FormatInt(seconds, 10), "state", state)
}

// pairs joins names and values. A space becomes %20, which every decoder
// reads; values that are blank are left out.
func pairs(list ...string) string {
	var b strings.Builder
	for pair := range slices.Chunk(list, 2) {
		if strings.TrimSpace(pair[1]) == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('&')
		}
		b.WriteString(pair[0])
		b.WriteByte('=')
		b.WriteString(strings.ReplaceAll(url.QueryEscape(pair[1]), "+", "%20"))
	}
	return b.String()
}
