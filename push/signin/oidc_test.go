package signin

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// issuer is an OpenID Connect issuer on loopback, with TLS.
type issuer struct {
	*httptest.Server
	keysAsked, metadataAsked atomic.Int32
	mu                       struct {
		sync.Mutex
		keys     []jose.JSONWebKey
		metadata map[string]any
		fail     func(w http.ResponseWriter, r *http.Request) bool // true: it has answered
		users    map[string]string                                 // access token → userinfo
	}
}

// startTLS starts a server on loopback that keeps quiet about its clients.
func startTLS(t testing.TB, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func startIssuer(t testing.TB) *issuer {
	t.Helper()
	i := &issuer{}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		i.metadataAsked.Add(1)
		i.mu.Lock()
		defer i.mu.Unlock()
		_ = json.NewEncoder(w).Encode(i.mu.metadata)
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		i.keysAsked.Add(1)
		i.mu.Lock()
		defer i.mu.Unlock()
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: i.mu.keys})
	})
	mux.HandleFunc("/userinfo", func(w http.ResponseWriter, r *http.Request) {
		i.mu.Lock()
		defer i.mu.Unlock()
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if i.mu.users[token] == "" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, i.mu.users[token])
	})
	i.Server = startTLS(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.mu.Lock()
		fail := i.mu.fail
		i.mu.Unlock()
		if fail == nil || !fail(w, r) {
			mux.ServeHTTP(w, r)
		}
	}))
	i.mu.metadata = map[string]any{
		"issuer": i.URL, "jwks_uri": i.URL + "/keys", "userinfo_endpoint": i.URL + "/userinfo",
		"id_token_signing_alg_values_supported": []string{"RS256", "ES256", "HS256", "none"},
	}
	return i
}

// change runs edit while the issuer answers nobody.
func (i *issuer) change(edit func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	edit()
}

// clock is a clock that tests set.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time       { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) pass(d time.Duration) { c.ahead.Add(int64(d)) }

// trusting is the pool that vouches for a server of startTLS.
func trusting(s *httptest.Server) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return pool
}

// provider trusts the issuer. Its client id is "acme".
func (i *issuer) provider(t testing.TB, c *clock, edit func(*OIDCConfig)) *OIDC {
	t.Helper()
	cfg := DefaultOIDCConfig()
	cfg.Issuer, cfg.ClientIDs, cfg.HTTP.RootCAs, cfg.HTTP.Timeout = i.URL, []string{"acme", "acme-ios"}, trusting(i.Server), time.Minute
	if edit != nil {
		edit(&cfg)
	}
	p, err := newOIDC(cfg, c.now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// signer is a key of an issuer.
type signer struct {
	id      string
	alg     jose.SignatureAlgorithm
	private any
}

func newRSA(t testing.TB, id string) signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return signer{id, jose.RS256, key}
}

func newEC(t testing.TB, id string) signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return signer{id, jose.ES256, key}
}

func (s signer) public() jose.JSONWebKey {
	return jose.JSONWebKey{Key: s.private.(crypto.Signer).Public(), KeyID: s.id, Algorithm: string(s.alg), Use: "sig"}
}

// sign makes a token of claims. typ is its type, "" for none.
func (s signer) sign(t testing.TB, typ string, claims any) string {
	t.Helper()
	options := &jose.SignerOptions{}
	if typ != "" {
		options = options.WithType(jose.ContentType(typ))
	}
	made, err := jose.NewSigner(jose.SigningKey{Algorithm: s.alg, Key: jose.JSONWebKey{Key: s.private, KeyID: s.id}}, options)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := made.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// ann is the claims of a good token, with changes; nil removes one.
func (i *issuer) ann(changes map[string]any) map[string]any {
	c := map[string]any{
		"iss": i.URL, "aud": "acme", "sub": "248289761001", "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix(),
		"name": "Ann Müller", "preferred_username": "ann", "email": "ann@example.org", "email_verified": true, "picture": "https://example.org/ann.png",
	}
	maps.Copy(c, changes)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

// wantError compares what Check said with the error it should have said.
func wantError(t testing.TB, what string, p Profile, err, want error) {
	t.Helper()
	if !errors.Is(err, want) || (want != nil && (p.ID != "" || errors.Is(err, ErrRefused) && errors.Is(err, ErrUnavailable))) {
		t.Errorf("%s: %+v, %v; want %v", what, p, err, want)
	}
}

// TestIDToken signs in with both common kinds of signature.
func TestIDToken(t *testing.T) {
	i := startIssuer(t)
	keys := []signer{newRSA(t, "one"), newEC(t, "two")}
	i.change(func() { i.mu.keys = []jose.JSONWebKey{keys[0].public(), keys[1].public()} })
	p := i.provider(t, &clock{}, nil)
	for _, k := range keys {
		got, err := p.Check(t.Context(), k.sign(t, "JWT", i.ann(nil)))
		if err != nil {
			t.Fatal(err)
		}
		if got.ID != "248289761001" || got.Username != "ann" || got.Name != "Ann Müller" || got.Email != "ann@example.org" || !got.EmailVerified ||
			got.Picture != "https://example.org/ann.png" || time.Until(got.Expires) <= 0 || !json.Valid(got.Raw) {
			t.Errorf("%s: %+v", k.alg, got)
		}
	}
	for name, changes := range map[string]map[string]any{
		"another client of ours":  {"aud": []string{"acme-ios"}},
		"for several, by us":      {"aud": []string{"other", "acme"}, "azp": "acme-ios"},
		"a clock a little behind": {"nbf": time.Now().Add(time.Minute).Unix()},
		"no type":                 {},
	} {
		p, err := p.Check(t.Context(), keys[0].sign(t, "", i.ann(changes)))
		wantError(t, name, p, err, nil)
	}
	if n := i.keysAsked.Load(); n != 1 {
		t.Errorf("the keys were asked for %d times", n)
	}
}

// TestForgedIDTokens goes through what must not sign in.
func TestForgedIDTokens(t *testing.T) {
	i := startIssuer(t)
	key, other := newRSA(t, "one"), newRSA(t, "one")
	i.change(func() { i.mu.keys = []jose.JSONWebKey{key.public()} })
	p := i.provider(t, &clock{}, nil)

	for name, changes := range map[string]map[string]any{
		"another issuer":         {"iss": "https://issuer.example.org"},
		"no issuer":              {"iss": nil},
		"another audience":       {"aud": "other"},
		"no audience":            {"aud": nil},
		"an empty audience":      {"aud": ""},
		"an audience of numbers": {"aud": []int{1}},
		"for several":            {"aud": []string{"acme", "other"}},
		"for several, by others": {"aud": []string{"acme", "other"}, "azp": "other"},
		"expired":                {"exp": time.Now().Add(-time.Minute).Unix()},
		"without end":            {"exp": nil},
		"not yet":                {"nbf": time.Now().Add(time.Hour).Unix()},
		"nobody's":               {"sub": nil},
		"of an empty person":     {"sub": ""},
		"of a person of spaces":  {"sub": "a b"},
		"of a long person":       {"sub": strings.Repeat("a", 256)},
		"of two persons":         {"SUB": "admin"},
		"for two":                {"Aud": "other"},
		"of two persons, folded": {"\u017fub": "admin"},
	} {
		got, err := p.Check(t.Context(), key.sign(t, "JWT", i.ann(changes)))
		wantError(t, name, got, err, ErrRefused)
	}

	good := key.sign(t, "JWT", i.ann(nil))
	parts := strings.Split(good, ".")
	encode := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	der, err := x509.MarshalPKIXPublicKey(key.private.(*rsa.PrivateKey).Public())
	if err != nil {
		t.Fatal(err)
	}
	var embedded map[string]any
	public, _ := other.public().MarshalJSON()
	if err := json.Unmarshal(public, &embedded); err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{
		"signed by another":       other.sign(t, "JWT", i.ann(nil)),
		"an access token":         key.sign(t, "at+jwt", i.ann(nil)),
		"not signed":              encode(`{"alg":"none"}`) + "." + parts[1] + ".",
		"not signed, as None":     encode(`{"alg":"None"}`) + "." + parts[1] + ".",
		"without its signature":   parts[0] + "." + parts[1] + ".",
		"with another's payload":  parts[0] + "." + encode(`{"sub":"admin"}`) + "." + parts[2],
		"HS256 of the public key": signer{"one", jose.HS256, der}.sign(t, "JWT", i.ann(nil)),
		"with its own key":        withOwnKey(t, other, i.ann(nil)),
		"not base64":              parts[0] + ".!." + parts[2],
		"an opaque one":           "EAAB",
		"two lines":               good + "\r\nX: y",
		"empty":                   "",
		"long":                    good + strings.Repeat("a", MaxTokenBytes),
		"not a JSON payload":      key.sign(t, "JWT", "text"),
		"a payload of null":       key.sign(t, "JWT", nil),
	} {
		got, err := p.Check(t.Context(), token)
		wantError(t, name, got, err, ErrRefused)
		if err != nil && len(token) > 8 && strings.Contains(err.Error(), token) {
			t.Errorf("%s: the token is in %q", name, err)
		}
	}
	if _, err := p.Check(t.Context(), good); err != nil {
		t.Errorf("the good token: %v", err)
	}
}

// withOwnKey signs a token that brings the key it is signed with.
func withOwnKey(t *testing.T, s signer, claims any) string {
	t.Helper()
	made, err := jose.NewSigner(jose.SigningKey{Algorithm: s.alg, Key: s.private}, &jose.SignerOptions{EmbedJWK: true})
	if err != nil {
		t.Fatal(err)
	}
	payload, _ := json.Marshal(claims)
	signed, err := made.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// TestRotation: a new key is found when a token is signed with it, but tokens with
// keys that nobody has do not make us ask again and again; and a key that has been
// withdrawn stops being good.
func TestRotation(t *testing.T) {
	i := startIssuer(t)
	first, second, nobodys := newRSA(t, "one"), newEC(t, "two"), newEC(t, "three")
	i.change(func() { i.mu.keys = []jose.JSONWebKey{first.public()} })
	c := &clock{}
	p := i.provider(t, c, nil)
	check := func(what string, s signer, want error) {
		t.Helper()
		claims := i.ann(map[string]any{"exp": time.Now().Add(24 * time.Hour).Unix()})
		got, err := p.Check(t.Context(), s.sign(t, "JWT", claims))
		wantError(t, what, got, err, want)
	}
	check("the first key", first, nil)
	i.change(func() { i.mu.keys = []jose.JSONWebKey{second.public()} })
	check("the second key within the pause", second, ErrRefused)
	c.pass(p.cfg.Pause)
	check("the second key", second, nil)
	check("the first key, withdrawn", first, ErrRefused)
	asked := i.keysAsked.Load()
	for range 20 {
		check("nobody's key", nobodys, ErrRefused)
	}
	if n := i.keysAsked.Load() - asked; n > 0 {
		t.Errorf("20 forged tokens asked for the keys %d times within the pause", n)
	}
	i.change(func() { i.mu.keys = []jose.JSONWebKey{first.public()} })
	c.pass(p.cfg.Pause)
	check("a key that is not known to be withdrawn", second, nil)
	c.pass(p.cfg.KeysAge)
	check("a key that is", second, ErrRefused)
}

// TestIssuerDown: the provider is made while the issuer is down, and works when it
// is up. In between it does not ask at every sign-in.
func TestIssuerDown(t *testing.T) {
	i := startIssuer(t)
	key := newEC(t, "one")
	var asked atomic.Int32
	i.change(func() {
		i.mu.keys = []jose.JSONWebKey{key.public()}
		i.mu.fail = func(w http.ResponseWriter, _ *http.Request) bool {
			asked.Add(1)
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}
	})
	c := &clock{}
	p := i.provider(t, c, nil)
	token := key.sign(t, "JWT", i.ann(nil))
	for range 10 {
		got, err := p.Check(t.Context(), token)
		wantError(t, "down", got, err, ErrUnavailable)
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("it was asked %d times", n)
	}
	i.change(func() { i.mu.fail = nil })
	c.pass(p.cfg.Pause)
	got, err := p.Check(t.Context(), token)
	wantError(t, "up", got, err, nil)
}

// TestIssuerMisbehaves: nonsense of all kinds from an issuer is ErrUnavailable.
func TestIssuerMisbehaves(t *testing.T) {
	key := newEC(t, "one")
	elsewhere := startTLS(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("somebody asks elsewhere") }))
	write := func(path, body string) func(i *issuer) func(http.ResponseWriter, *http.Request) bool {
		return func(*issuer) func(http.ResponseWriter, *http.Request) bool {
			return func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path == path {
					fmt.Fprint(w, body)
				}
				return r.URL.Path == path
			}
		}
	}
	const metadata, keys = "/.well-known/openid-configuration", "/keys"
	for name, fail := range map[string]func(i *issuer) func(http.ResponseWriter, *http.Request) bool{
		"metadata is text":           write(metadata, "hello"),
		"metadata is null":           write(metadata, "null"),
		"metadata is another's":      write(metadata, `{"issuer":"https://issuer.example.org"}`),
		"metadata is huge":           write(metadata, `{"a":"`+strings.Repeat("a", 1<<20)+`"}`),
		"keys are text":              write(keys, "hello"),
		"keys are none":              write(keys, `{"keys":[]}`),
		"keys are secret ones alone": write(keys, `{"keys":[{"kty":"oct","k":"AAAA","kid":"one"}]}`),
		"keys are huge":              write(keys, `{"keys":["`+strings.Repeat("a", 1<<20)+`"]}`),
		"keys are unencrypted": func(i *issuer) func(http.ResponseWriter, *http.Request) bool {
			i.change(func() { i.mu.metadata["jwks_uri"] = "http://keys.example.org/" })
			return nil
		},
		"userinfo is a file": func(i *issuer) func(http.ResponseWriter, *http.Request) bool {
			i.change(func() { i.mu.metadata["userinfo_endpoint"] = "file:///etc/passwd" })
			return nil
		},
		"it redirects": func(*issuer) func(http.ResponseWriter, *http.Request) bool {
			return func(w http.ResponseWriter, r *http.Request) bool {
				http.Redirect(w, r, elsewhere.URL, http.StatusFound)
				return true
			}
		},
		"it redirects without end": func(*issuer) func(http.ResponseWriter, *http.Request) bool {
			return func(w http.ResponseWriter, r *http.Request) bool {
				http.Redirect(w, r, r.URL.Path+"a", http.StatusFound)
				return true
			}
		},
		"it refuses its keys": func(*issuer) func(http.ResponseWriter, *http.Request) bool {
			return func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path == keys {
					w.WriteHeader(http.StatusForbidden)
				}
				return r.URL.Path == keys
			}
		},
		"it hangs up": func(*issuer) func(http.ResponseWriter, *http.Request) bool {
			return func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			i := startIssuer(t)
			i.change(func() { i.mu.keys = []jose.JSONWebKey{key.public()} })
			answer := fail(i)
			i.change(func() { i.mu.fail = answer })
			got, err := i.provider(t, &clock{}, nil).Check(t.Context(), key.sign(t, "JWT", i.ann(nil)))
			wantError(t, name, got, err, ErrUnavailable)
			if err != nil && strings.HasSuffix(name, "unencrypted") && !strings.Contains(err.Error(), "must be reached by https") {
				t.Errorf("another reason: %v", err)
			}
			if err != nil && len(err.Error()) > 500 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
		})
	}
}

// TestIssuerHangs: neither the caller's deadline nor the time-out is missed, and one
// caller's deadline says nothing of the issuer to the next.
func TestIssuerHangs(t *testing.T) {
	i := startIssuer(t)
	key := newEC(t, "one")
	release := make(chan struct{})
	i.change(func() {
		i.mu.keys = []jose.JSONWebKey{key.public()}
		i.mu.fail = func(_ http.ResponseWriter, r *http.Request) bool {
			select {
			case <-release:
			case <-r.Context().Done():
			}
			return false
		}
	})
	token := key.sign(t, "JWT", i.ann(nil))
	short := i.provider(t, &clock{}, func(c *OIDCConfig) { c.HTTP.Timeout = 50 * time.Millisecond })
	got, err := short.Check(t.Context(), token)
	wantError(t, "the time-out", got, err, ErrUnavailable)

	p := i.provider(t, &clock{}, nil)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			got, err := p.Check(ctx, token)
			wantError(t, "the deadline", got, err, ErrUnavailable)
		})
	}
	all.Wait()
	close(release)
	got, err = p.Check(t.Context(), token)
	wantError(t, "afterwards", got, err, nil)
}

// TestManyAtOnce: many who sign in at once ask the issuer once.
func TestManyAtOnce(t *testing.T) {
	i := startIssuer(t)
	key := newEC(t, "one")
	i.change(func() { i.mu.keys = []jose.JSONWebKey{key.public()} })
	p := i.provider(t, &clock{}, nil)
	token := key.sign(t, "JWT", i.ann(nil))
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			got, err := p.Check(t.Context(), token)
			wantError(t, "together", got, err, nil)
		})
	}
	all.Wait()
	if k, m := i.keysAsked.Load(), i.metadataAsked.Load(); k != 1 || m != 1 {
		t.Errorf("keys were asked for %d times, metadata %d times", k, m)
	}
}

// TestAccessToken: a token that is no JWT signs in by userinfo, if the operator wants
// that. A JWT is never shown to the endpoint.
func TestAccessToken(t *testing.T) {
	i := startIssuer(t)
	key, stranger := newEC(t, "one"), newEC(t, "one")
	forged := stranger.sign(t, "JWT", i.ann(nil))
	i.change(func() {
		i.mu.keys = []jose.JSONWebKey{key.public()}
		i.mu.users = map[string]string{
			"EAAB": `{"sub":"1","name":"Ann","email":"ann@example.org","email_verified":"true"}`,
			"none": `{"name":"Ann"}`, "list": `[]`, "huge": `{"sub":"1","a":"` + strings.Repeat("a", MaxProfileBytes) + `"}`,
			forged: `{"sub":"1"}`,
		}
	})
	p := i.provider(t, &clock{}, func(c *OIDCConfig) { c.AccessTokens = true })
	got, err := p.Check(t.Context(), "EAAB")
	if err != nil || got.ID != "1" || got.Name != "Ann" || !got.EmailVerified || !got.Expires.IsZero() {
		t.Errorf("%+v, %v", got, err)
	}
	for token, want := range map[string]error{"unknown": ErrRefused, "none": ErrUnavailable, "list": ErrUnavailable, "huge": ErrUnavailable, forged: ErrRefused} {
		got, err := p.Check(t.Context(), token)
		wantError(t, token, got, err, want)
	}
	got, err = i.provider(t, &clock{}, nil).Check(t.Context(), "EAAB")
	wantError(t, "not wanted", got, err, ErrRefused)
	i.change(func() { delete(i.mu.metadata, "userinfo_endpoint") })
	got, err = i.provider(t, &clock{}, func(c *OIDCConfig) { c.AccessTokens = true }).Check(t.Context(), "EAAB")
	wantError(t, "no endpoint", got, err, ErrRefused)
}

// TestUntrustedIssuer: a server that nobody vouches for is not believed.
func TestUntrustedIssuer(t *testing.T) {
	i := startIssuer(t)
	key := newEC(t, "one")
	p := i.provider(t, &clock{}, func(c *OIDCConfig) { c.HTTP.RootCAs = x509.NewCertPool() })
	got, err := p.Check(t.Context(), key.sign(t, "JWT", i.ann(nil)))
	wantError(t, "untrusted", got, err, ErrUnavailable)
	var verification *tls.CertificateVerificationError
	if !errors.As(err, &verification) {
		t.Errorf("%v does not say why", err)
	}
}

// TestOIDCConfigRefused wants an error for each setting that cannot work.
func TestOIDCConfigRefused(t *testing.T) {
	for name, edit := range map[string]func(*OIDCConfig){
		"no issuer": func(c *OIDCConfig) { c.Issuer = "" }, "unencrypted": func(c *OIDCConfig) { c.Issuer = "http://issuer.example.org" },
		"a file": func(c *OIDCConfig) { c.Issuer = "file:///etc/passwd" }, "a password": func(c *OIDCConfig) { c.Issuer = "https://a:b@issuer.example.org" },
		"nobody": func(c *OIDCConfig) { c.ClientIDs = nil }, "an empty client": func(c *OIDCConfig) { c.ClientIDs = []string{""} },
		"pause": func(c *OIDCConfig) { c.Pause = 0 }, "age": func(c *OIDCConfig) { c.KeysAge = c.Pause }, "time-out": func(c *OIDCConfig) { c.HTTP.Timeout = 0 },
	} {
		cfg := DefaultOIDCConfig()
		cfg.Issuer, cfg.ClientIDs = "https://issuer.example.org", []string{"acme"}
		if _, err := NewOIDC(cfg); err != nil {
			t.Fatal(err)
		}
		edit(&cfg)
		if _, err := NewOIDC(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// FuzzIDToken states that no token signs in but the one that the issuer signed, in
// whatever way it is changed.
func FuzzIDToken(f *testing.F) {
	i := startIssuer(f)
	key := newEC(f, "one")
	i.change(func() { i.mu.keys = []jose.JSONWebKey{key.public()} })
	p := i.provider(f, &clock{}, nil)
	good := key.sign(f, "JWT", i.ann(nil))
	payload := strings.Split(good, ".")[1]
	for _, token := range []string{good, "", "..", "e30.e30.", "eyJhbGciOiJub25lIn0.e30.", good + ".", "EAAB", good + "=", "{" + good} {
		f.Add(token)
	}
	f.Fuzz(func(t *testing.T, token string) {
		got, err := p.Check(t.Context(), token)
		switch {
		case err == nil && (len(strings.Split(token, ".")) != 3 || strings.Split(token, ".")[1] != payload || got.ID != "248289761001"):
			t.Errorf("%q signs in as %+v", token, got)
		case err != nil && !errors.Is(err, ErrRefused):
			t.Errorf("%q: %v", token, err)
		}
	})
}
