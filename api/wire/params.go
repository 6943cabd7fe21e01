package wire

import (
	"slices"
	"strings"
)

// param is one name and value of a query string or a form.
type param struct{ name, value string }

const maxParams = 256

// parseParams reads a query string or a form body. It is lenient, as clients
// expect: what cannot be decoded is taken as it stands, with bytes that are not
// UTF-8 replaced. Parameters beyond a bound are ignored.
func parseParams(dst []param, s string) []param {
	for len(s) > 0 && len(dst) < maxParams {
		pair := s
		if i := strings.IndexByte(s, '&'); i >= 0 {
			pair, s = s[:i], s[i+1:]
		} else {
			s = ""
		}
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		if name = lenient(name); name == "" {
			continue
		}
		dst = append(dst, param{name, lenient(value)})
	}
	return dst
}

func lenient(s string) string {
	if d, ok := unescape(s, true); ok {
		return d
	}
	return strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", "\uFFFD"), "\uFFFD")
}

func first(params []param, name string) (string, bool) {
	for i := range params {
		if params[i].name == name {
			return params[i].value, true
		}
	}
	return "", false
}

func all(params []param, name string) []string {
	var values []string
	for i := range params {
		if params[i].name == name {
			values = append(values, params[i].value)
		}
	}
	return values
}

// secret reports whether a parameter must never be shown again (spec
// envelope-and-errors section 2).
func secret(name string) bool {
	switch len(name) {
	case 3, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 17, 18, 19:
	default:
		return false
	}
	switch strings.ToLower(name) {
	case "access_token", "client_id", "client_secret", "username", "password", "client_credentials", "token",
		"fb_access_token", "fq_access_token", "ping_access_token", "oldpassword", "newpassword", "pin", "restore_password",
		"p12certificate", "certificatepassword", "authkey", "apikey", "serviceaccount", "clientsecret", "vapidprivatekey":
		return true
	}
	return false
}

// appendParams appends the echo of params: name → array of values.
func appendParams(dst []byte, params []param) []byte {
	dst = append(dst, '{')
	empty := true
	for i := range params {
		name := params[i].name
		if _, seen := first(params[:i], name); seen || secret(name) {
			continue
		}
		if !empty {
			dst = append(dst, ',')
		}
		empty = false
		dst = AppendString(dst, name)
		dst = append(dst, ':', '[')
		for j := i; j < len(params); j++ {
			if params[j].name != name {
				continue
			}
			if j > i {
				dst = append(dst, ',')
			}
			dst = AppendString(dst, params[j].value)
		}
		dst = append(dst, ']')
	}
	return append(dst, '}')
}

// AppendParams appends the echo of the query parameters, without secrets.
func (r *Request) AppendParams(dst []byte) []byte {
	return appendParams(dst, append(slices.Clip(r.params()), r.echoed...))
}

// Echo has the answer repeat values of a parameter that the request has in its body, as if
// they had been in the query string.
func (r *Request) Echo(name string, values []string) {
	for _, value := range values {
		r.echoed = append(r.echoed, param{name, value})
	}
}
