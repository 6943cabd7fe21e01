package signin

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
)

// OIDCConfig is an issuer of OpenID Connect. Begin with DefaultOIDCConfig.
type OIDCConfig struct {
	Issuer string // as it stands in its tokens; its metadata is below it
	// ClientIDs are our names at the issuer: an ID token must be made for one of them.
	ClientIDs []string
	// AccessTokens lets tokens that are no JWTs sign in, by the issuer's userinfo
	// endpoint. It tells who the bearer is, and not for whom the token was made: a
	// person's token of any other client of the issuer signs them in here.
	AccessTokens bool
	// KeysAge is how long the issuer's keys and metadata are used without asking
	// again; so long a key that it has withdrawn is good for.
	KeysAge time.Duration
	// Pause is how long nobody asks again after asking. A token with a key that is new
	// is refused so long at most.
	Pause time.Duration
	HTTP  HTTP
}

// DefaultOIDCConfig returns a configuration that lacks only Issuer and ClientIDs.
func DefaultOIDCConfig() OIDCConfig {
	return OIDCConfig{KeysAge: time.Hour, Pause: 5 * time.Second, HTTP: DefaultHTTP()}
}

// OIDC is a provider that verifies ID tokens.
type OIDC struct {
	cfg      OIDCConfig
	client   *client
	now      func() time.Time
	metadata *kept[metadata]
	keys     *kept[[]jose.JSONWebKey]
}

// metadata is what the issuer's discovery document says.
type metadata struct {
	algorithms []string
	keys       *url.URL
	userInfo   *url.URL // nil: there is none
}

// NewOIDC checks cfg and asks nobody.
func NewOIDC(cfg OIDCConfig) (*OIDC, error) { return newOIDC(cfg, time.Now) }

func newOIDC(cfg OIDCConfig, now func() time.Time) (*OIDC, error) {
	_, c, err := open(cfg.Issuer, cfg.HTTP)
	switch {
	case err != nil:
		return nil, err
	case len(cfg.ClientIDs) == 0 || slices.Contains(cfg.ClientIDs, ""):
		return nil, fmt.Errorf("signin: %s: ID tokens must be made for somebody: no client id, or an empty one", cfg.Issuer)
	case cfg.Pause <= 0 || cfg.KeysAge <= cfg.Pause:
		return nil, fmt.Errorf("signin: %s: the age of keys must be longer than the pause, and that longer than 0", cfg.Issuer)
	}
	p := &OIDC{cfg: cfg, client: c, now: now}
	p.metadata = newKept(cfg.KeysAge, cfg.Pause, now, p.discover)
	p.keys = newKept(cfg.KeysAge, cfg.Pause, now, p.fetchKeys)
	return p, nil
}

// Close is that of Provider.
func (p *OIDC) Close() { p.client.close() }

// Check is that of Provider. The profile of an ID token is made of its claims.
func (p *OIDC) Check(ctx context.Context, token string) (Profile, error) {
	switch {
	case !wellFormed(token):
		return Profile{}, refused("it is no token")
	case isJWT(token):
		return p.checkIDToken(ctx, token)
	case p.cfg.AccessTokens:
		return p.checkAccessToken(ctx, token)
	}
	return Profile{}, refused("it is no ID token")
}

func (p *OIDC) checkIDToken(ctx context.Context, token string) (Profile, error) {
	doc, err := p.metadata.get(ctx)
	if err != nil {
		return Profile{}, err
	}
	keys := &keySet{keys: p.keys, algorithms: doc.value.algorithms}
	verifier := gooidc.NewVerifier(p.cfg.Issuer, keys, &gooidc.Config{
		SupportedSigningAlgs: doc.value.algorithms,
		SkipClientIDCheck:    true, // madeForUs knows several
		Now:                  p.now,
	})
	verified, err := verifier.Verify(ctx, token)
	if keys.unavailable != nil {
		return Profile{}, keys.unavailable // the library tells the text of an error only
	}
	if err != nil {
		return Profile{}, refused("%v", err)
	}
	profile, err := standard(keys.payload)
	if err != nil {
		return Profile{}, refused("%v", err) // whatever is wrong is in the token
	}
	if err := p.madeForUs(keys.payload); err != nil {
		return Profile{}, err
	}
	profile.Expires = verified.Expiry
	return profile, nil
}

// madeForUs checks the audience: OpenID Connect Core, 3.1.3.7.
func (p *OIDC) madeForUs(payload []byte) error {
	c, err := readObject(payload)
	if err != nil {
		return refused("its payload is no object")
	}
	if err := c.anyFolded("iss", "sub", "aud", "azp", "exp", "nbf"); err != nil {
		return refused("%v", err)
	}
	audience := c.texts("aud")
	ours := func(id string) bool { return slices.Contains(p.cfg.ClientIDs, id) }
	if !slices.ContainsFunc(audience, ours) {
		return refused("it was made for others")
	}
	if len(audience) > 1 && !ours(c.text("azp")) {
		return refused("it was made for several, and not by us")
	}
	return nil
}

func (p *OIDC) checkAccessToken(ctx context.Context, token string) (Profile, error) {
	doc, err := p.metadata.get(ctx)
	if err != nil {
		return Profile{}, err
	}
	if doc.value.userInfo == nil {
		return Profile{}, refused("it is no ID token, and the issuer has no userinfo endpoint")
	}
	body, err := p.client.get(ctx, doc.value.userInfo, token, MaxProfileBytes, token)
	if err != nil {
		return Profile{}, err
	}
	return standard(body)
}

// discover fetches and checks the metadata.
func (p *OIDC) discover(ctx context.Context) (metadata, error) {
	provider, err := gooidc.NewProvider(gooidc.ClientContext(ctx, p.client.http), p.cfg.Issuer)
	if err != nil {
		return metadata{}, unavailable(brief(withoutURL(err)))
	}
	var doc struct {
		Keys       string   `json:"jwks_uri"`
		Algorithms []string `json:"id_token_signing_alg_values_supported"`
	}
	if err := provider.Claims(&doc); err != nil {
		return metadata{}, unavailable(fmt.Errorf("metadata: %w", err))
	}
	m := metadata{}
	for _, alg := range doc.Algorithms {
		if slices.Contains(algorithms(), jose.SignatureAlgorithm(alg)) {
			m.algorithms = append(m.algorithms, alg)
		}
	}
	if len(m.algorithms) == 0 {
		m.algorithms = []string{string(jose.RS256)} // which every issuer has
	}
	if m.keys, err = parseURL(doc.Keys); err != nil {
		return metadata{}, unavailable(fmt.Errorf("metadata: keys: %w", err))
	}
	if endpoint := provider.UserInfoEndpoint(); endpoint != "" {
		if m.userInfo, err = parseURL(endpoint); err != nil {
			return metadata{}, unavailable(fmt.Errorf("metadata: userinfo: %w", err))
		}
	}
	return m, nil
}

// brief is err, or its beginning: the library puts whole answers into its errors.
func brief(err error) error {
	const enough = 200
	if text := err.Error(); len(text) > enough {
		return errors.New(strings.ToValidUTF8(text[:enough], "") + "…")
	}
	return err
}

// algorithms are the signatures that can be checked without sharing a secret.
func algorithms() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{
		jose.RS256, jose.RS384, jose.RS512, jose.ES256, jose.ES384, jose.ES512, jose.PS256, jose.PS384, jose.PS512, jose.EdDSA,
	}
}

// isJWT tells a signed JWT, which is never shown to the issuer, from another token.
func isJWT(token string) bool {
	head, rest, _ := strings.Cut(token, ".")
	if strings.Count(rest, ".") != 1 {
		return false
	}
	decoded, err := base64.RawURLEncoding.DecodeString(head)
	if err != nil {
		return false
	}
	c, err := readObject(decoded)
	return err == nil && c["alg"] != nil
}

// fetchKeys fetches the keys that signatures can be checked with; others are left.
func (p *OIDC) fetchKeys(ctx context.Context) ([]jose.JSONWebKey, error) {
	doc, err := p.metadata.get(ctx)
	if err != nil {
		return nil, err
	}
	body, err := p.client.get(ctx, doc.value.keys, "", maxDocumentBytes)
	if errors.Is(err, ErrRefused) {
		return nil, unavailable(errors.New("it does not show its keys"))
	}
	if err != nil {
		return nil, err
	}
	keys, err := readKeys(body)
	if err != nil {
		return nil, unavailable(err)
	}
	return keys, nil
}

// maxKeys bounds the keys that a signature is tried with.
const maxKeys = 32

func readKeys(body []byte) ([]jose.JSONWebKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, fmt.Errorf("its keys are no JSON: %w", err)
	}
	var keys []jose.JSONWebKey
	for _, raw := range set.Keys {
		var key jose.JSONWebKey
		// RFC 7517, 5: what is not understood is ignored.
		if json.Unmarshal(raw, &key) != nil || !key.IsPublic() || key.Use == "enc" {
			continue
		}
		if keys = append(keys, key); len(keys) == maxKeys {
			break
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("it has no keys that signatures can be checked with")
	}
	return keys, nil
}
