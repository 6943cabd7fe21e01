package fcm

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/url"
	"strings"

	"github.com/trellisdb/trellis/push/provider"
	"github.com/trellisdb/trellis/storage/fault"
)

const (
	googleTokens = "https://oauth2.googleapis.com/token"
	scope        = "https://www.googleapis.com/auth/firebase.messaging"
	assertionFor = 3600    // seconds
	maxKey       = 6 << 10 // bytes of a key: one of 8192 bits has less than 5,000
)

// account is a service account.
type account struct {
	project, email, keyID string
	tokens                string // URL that gives tokens of access
	ours                  bool   // tokens is the operator's word
	key                   *rsa.PrivateKey
}

// parseAccount reads the JSON text of a service account. tokens, if it is not empty,
// takes the place of its token_uri.
func parseAccount(text, tokens string) (*account, error) {
	var said struct {
		Project string `json:"project_id"`
		Email   string `json:"client_email"`
		Key     string `json:"private_key"`
		KeyID   string `json:"private_key_id"`
		Tokens  string `json:"token_uri"`
	}
	if err := json.Unmarshal([]byte(text), &said); err != nil {
		return nil, fault.New(fault.IllegalArgument, "serviceAccount is no JSON object of strings")
	}
	for _, need := range []struct{ name, value string }{
		{"project_id", said.Project}, {"client_email", said.Email}, {"private_key", said.Key},
	} {
		if need.value == "" {
			return nil, fault.New(fault.IllegalArgument, "serviceAccount has no %s", need.name)
		}
	}
	if len(said.Project) > 128 || len(said.Email) > 320 || len(said.KeyID) > 256 || strings.ContainsFunc(said.Project, notProject) {
		return nil, fault.New(fault.IllegalArgument, "serviceAccount has a project_id, client_email or private_key_id that cannot be")
	}
	a := &account{project: said.Project, email: said.Email, keyID: said.KeyID, tokens: tokens, ours: tokens != ""}
	if !a.ours {
		if a.tokens = said.Tokens; a.tokens == "" {
			a.tokens = googleTokens
		}
		if u, err := provider.ParseURL(a.tokens); err != nil || !isGoogle(u) {
			return nil, fault.New(fault.IllegalArgument, "serviceAccount has a token_uri that is not Google's")
		}
	}
	var err error
	a.key, err = parseKey(said.Key)
	return a, err
}

// notProject tells what does not occur in the id of a project, of a domain even.
func notProject(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_.:", r)
}

func isGoogle(u *url.URL) bool {
	host := strings.ToLower(u.Hostname())
	return host == "accounts.google.com" || strings.HasSuffix(host, ".googleapis.com")
}

// parseKey reads the PEM text of an RSA key.
func parseKey(text string) (*rsa.PrivateKey, error) {
	wrong := fault.New(fault.IllegalArgument, "the private_key of serviceAccount cannot be read")
	block, _ := pem.Decode([]byte(text))
	if block == nil || len(block.Bytes) > maxKey {
		return nil, wrong
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return fit(key)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, wrong
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, fault.New(fault.IllegalArgument, "the private_key of serviceAccount is no RSA key")
	}
	return fit(key)
}

func fit(key *rsa.PrivateKey) (*rsa.PrivateKey, error) {
	if bits := key.N.BitLen(); bits < 2048 || bits > 8192 {
		return nil, fault.New(fault.IllegalArgument, "the private_key of serviceAccount has %d bits, want 2048 to 8192", bits)
	}
	return key, nil
}

// grant fetches a token of access (RFC 7523).
func (a *account) grant(ctx context.Context, c *provider.Client, cfg *provider.Config) (provider.Grant, provider.Result) {
	now := cfg.Now().Unix()
	header := map[string]any{"typ": "JWT"}
	if a.keyID != "" {
		header["kid"] = a.keyID
	}
	assertion, err := provider.SignJWT(a.key, header, map[string]any{
		"iss": a.email, "sub": a.email, "aud": a.tokens, "scope": scope, "iat": now, "exp": now + assertionFor,
	})
	if err != nil {
		return provider.Grant{}, provider.Block("invalid_grant", "the key of the service account does not sign")
	}
	form := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {assertion}}
	return provider.FetchGrant(ctx, c, cfg.Now, a.tokens, form, assertion)
}
