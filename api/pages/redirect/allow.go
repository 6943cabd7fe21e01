package redirect

import (
	"fmt"
	"net/url"
	"strings"
)

// Allow lists where clients may be sent. The zero Allow permits every Target.
// It is immutable and safe for concurrent use.
type Allow struct{ rules []rule }

// rule permits what agrees with all it says; an empty field says nothing.
type rule struct {
	scheme string
	host   string // with the port if it is not the scheme's own
	path   string // whole segments: /app permits /app and /app/x, not /apple
}

// ParseAllow reads a list whose entries are hosts ("app.example.org",
// "localhost:3000": over http and https), schemes ("myapp:"), or URIs that a
// redirect_uri must equal or continue at a slash ("https://example.org/app").
// Subdomains are hosts of their own. An empty list permits everything.
func ParseAllow(entries []string) (Allow, error) {
	var a Allow
	for _, entry := range entries {
		r, err := parseRule(strings.TrimSpace(entry))
		if err != nil {
			return Allow{}, fmt.Errorf("allowed redirect %q: %w", entry, err)
		}
		a.rules = append(a.rules, r)
	}
	return a, nil
}

func parseRule(entry string) (rule, error) {
	scheme, rest, found := strings.Cut(entry, ":")
	if found && rest == "" { // a scheme
		u, err := parse(entry + "x")
		if err == nil || scheme == "http" || scheme == "https" {
			return rule{scheme: strings.ToLower(scheme)}, nil
		}
		return rule{}, fmt.Errorf("not a scheme: %w", errOf(u, err))
	}
	if !strings.Contains(entry, "://") {
		u, err := parse("https://" + entry)
		if err != nil || u.Path != "" || u.RawQuery != "" {
			return rule{}, fmt.Errorf("neither host, scheme nor URI: %w", errOf(u, err))
		}
		return bareHost(strings.ToLower(u.Host)), nil
	}
	u, err := parse(entry)
	if err != nil {
		return rule{}, err
	}
	if u.RawQuery != "" || dotted(u.Path) {
		return rule{}, fmt.Errorf("a query or a dot segment")
	}
	return rule{scheme: u.Scheme, host: hostOf(u), path: strings.TrimSuffix(u.Path, "/")}, nil
}

// bareHost is the rule for a host alone. A port that goes without saying for
// one scheme says that scheme.
func bareHost(host string) rule {
	if h, ok := strings.CutSuffix(host, ":443"); ok {
		return rule{scheme: "https", host: h}
	}
	if h, ok := strings.CutSuffix(host, ":80"); ok {
		return rule{scheme: "http", host: h}
	}
	return rule{host: host}
}

func errOf(u *url.URL, err error) error {
	if err == nil {
		return fmt.Errorf("it has the path %q", u.Path)
	}
	return err
}

// hostOf is the host in lower case, without a port that goes without saying.
func hostOf(u *url.URL) string {
	host := strings.ToLower(u.Host)
	switch u.Scheme {
	case "http":
		return strings.TrimSuffix(host, ":80")
	case "https":
		return strings.TrimSuffix(host, ":443")
	}
	return host
}

func (a Allow) permits(u *url.URL) bool {
	for _, r := range a.rules {
		if r.permits(u) {
			return true
		}
	}
	return len(a.rules) == 0
}

func (r rule) permits(u *url.URL) bool {
	web := u.Scheme == "http" || u.Scheme == "https"
	switch {
	case r.scheme != "" && r.scheme != u.Scheme,
		r.scheme == "" && !web, // a host alone is one of the web
		r.host != "" && r.host != hostOf(u),
		r.path != "" && dotted(u.Path): // /app/../other is not below /app
		return false
	}
	return r.path == "" || u.Path == r.path || strings.HasPrefix(u.Path, r.path+"/")
}

// dotted reports whether a decoded path has a segment that leads elsewhere.
func dotted(path string) bool {
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "." || segment == ".." {
			return true
		}
	}
	return false
}
