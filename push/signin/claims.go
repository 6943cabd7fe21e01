package signin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// claims is a JSON object of which some properties are believed. Unlike fields of a
// struct, names are compared exactly: "Sub" is not "sub".
type claims map[string]json.RawMessage

// readObject reads a JSON object.
func readObject(body []byte) (claims, error) {
	var c claims
	if err := json.Unmarshal(body, &c); err != nil || c == nil {
		return nil, unavailable(errors.New("its answer is no JSON object"))
	}
	return c, nil
}

// text returns a string, or a number as it is written; "" for all else.
func (c claims) text(name string) string {
	raw := c[name]
	if len(raw) == 0 {
		return ""
	}
	var s string
	if raw[0] == '"' && json.Unmarshal(raw, &s) == nil {
		return s
	}
	if raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9' {
		return string(raw)
	}
	return ""
}

// object returns an object; nil for all else.
func (c claims) object(name string) claims {
	var o claims
	if json.Unmarshal(c[name], &o) != nil {
		return nil
	}
	return o
}

// isTrue takes true and, as some services write it, "true".
func (c claims) isTrue(name string) bool {
	raw := string(c[name])
	return raw == "true" || raw == `"true"`
}

// texts returns a string or the strings of a list, as the audience is written.
func (c claims) texts(name string) []string {
	var list []string
	if json.Unmarshal(c[name], &list) == nil {
		return list
	}
	if s := c.text(name); s != "" {
		return []string{s}
	}
	return nil
}

// standard makes a profile of the claims that OpenID Connect Core names in 5.1.
func standard(body []byte) (Profile, error) {
	c, err := readObject(body)
	if err != nil {
		return Profile{}, err
	}
	return finish(Profile{
		ID: c.text("sub"), Username: c.text("preferred_username"), Name: c.text("name"),
		Email: c.text("email"), EmailVerified: c.isTrue("email_verified"), Picture: c.text("picture"), Raw: body,
	})
}

// finish keeps of a profile what can be believed, and wants an id.
func finish(p Profile) (Profile, error) {
	if p.ID == "" || len(p.ID) > 255 || !wellFormed(p.ID) {
		return Profile{}, unavailable(errors.New("its answer has no id of a person that could be one"))
	}
	if len(p.Raw) > MaxProfileBytes {
		return Profile{}, unavailable(errTooLong)
	}
	p.Username, p.Name = tidy(p.Username, 256), tidy(p.Name, 256)
	if len(p.Email) > 254 || tidy(p.Email, 254) != p.Email || !strings.Contains(p.Email, "@") {
		p.Email, p.EmailVerified = "", false
	}
	if !isPicture(p.Picture) {
		p.Picture = ""
	}
	p.Raw = bytes.TrimSpace(p.Raw)
	return p, nil
}

// tidy is s without control characters, cut to n bytes of whole characters.
func tidy(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	for len(s) > n {
		_, size := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-size]
	}
	return strings.TrimSpace(s)
}

func isPicture(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && len(s) <= 2048
}

// anyFolded finds a claim whose name differs from one of names in case alone. What
// libraries read of such a token is not certain.
func (c claims) anyFolded(names ...string) error {
	for claim := range c {
		for _, name := range names {
			if claim != name && strings.EqualFold(claim, name) {
				return fmt.Errorf("claim %.40q is almost %q", claim, name)
			}
		}
	}
	return nil
}
