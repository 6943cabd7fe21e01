package provider

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// grantPause is how soon a service that gave no token of access is asked again.
const grantPause = 2 * time.Second

// Grant is a token of access.
type Grant struct {
	Token   string
	Expires time.Time
}

// Bearers keeps a token of access, and fetches another when it is about to expire or
// the service has refused it. One at a time fetches; who waits gets what came of it. It
// is safe for concurrent use. Make one with NewBearers.
type Bearers struct {
	fetch func(ctx context.Context) (Grant, Result)
	now   func() time.Time
	turn  chan struct{} // of size 1; who has put something in fetches
	mu    struct {
		sync.Mutex
		grant  Grant
		tried  time.Time // when the last fetch failed
		failed Result
	}
}

// NewBearers makes one. fetch returns a grant, or the result of a message that needed
// it.
func NewBearers(now func() time.Time, fetch func(ctx context.Context) (Grant, Result)) *Bearers {
	return &Bearers{fetch: fetch, now: now, turn: make(chan struct{}, 1)}
}

// Get returns a token that is not known to be refused or expired. If there is none the
// result is not Sent.
func (b *Bearers) Get(ctx context.Context) (string, Result) {
	if token, failed, ok := b.kept(); ok {
		return token, failed
	}
	select {
	case b.turn <- struct{}{}:
		defer func() { <-b.turn }()
	case <-ctx.Done():
		return "", NetResult(ctx, ctx.Err())
	}
	if token, failed, ok := b.kept(); ok { // whoever had the turn before has fetched, or tried
		return token, failed
	}
	grant, failed := b.fetch(ctx)
	if failed.Outcome != Sent && ctx.Err() != nil {
		return "", failed // the caller has left: that says nothing of the service
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if failed.Outcome != Sent {
		b.mu.tried, b.mu.failed = b.now(), failed
		return "", failed
	}
	b.mu.grant, b.mu.tried = grant, time.Time{}
	return grant.Token, Result{}
}

func (b *Bearers) kept() (string, Result, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	if b.mu.grant.Token != "" && now.Before(b.mu.grant.Expires) {
		return b.mu.grant.Token, Result{}, true
	}
	if !b.mu.tried.IsZero() && now.Sub(b.mu.tried) < grantPause {
		return "", b.mu.failed, true
	}
	return "", Result{}, false
}

// Refused forgets a token that the service did not take.
func (b *Bearers) Refused(token string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.grant.Token == token {
		b.mu.grant = Grant{}
	}
}

// FetchGrant asks an OAuth 2.0 token endpoint (RFC 6749). secrets are what results
// must not hold.
func FetchGrant(ctx context.Context, c *Client, now func() time.Time, endpoint string, form url.Values, secrets ...string) (Grant, Result) {
	answer, err := c.Post(ctx, Request{
		URL:    endpoint,
		Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Accept": {"application/json"}},
		Body:   []byte(form.Encode()),
	})
	if err != nil {
		return Grant{}, NetResult(ctx, err)
	}
	var said struct {
		Token       string `json:"access_token"`
		Expires     any    `json:"expires_in"`
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	malformed := json.Unmarshal(answer.Body, &said) != nil
	switch {
	case answer.Status == http.StatusOK && !malformed && fitToken(said.Token):
		return Grant{Token: said.Token, Expires: expiry(now(), said.Expires)}, Result{}
	case answer.Status == http.StatusTooManyRequests || answer.Status >= 500:
		r := Again(NotifierLevel, CodeUnreachable, "the token endpoint answers "+http.StatusText(answer.Status))
		r.RetryAfter = RetryAfter(answer.Header, now())
		return Grant{}, r
	case answer.Status == http.StatusBadRequest || answer.Status == http.StatusUnauthorized || answer.Status == http.StatusForbidden:
		code := clip(said.Error, 64)
		if malformed || code == "" {
			code = "invalid_client"
		}
		return Grant{}, Block(code, "the token endpoint refuses the credentials: "+said.Description).Scrub(secrets...)
	}
	return Grant{}, Again(NotifierLevel, CodeBadAnswer, "the token endpoint answers what nobody expects")
}

// fitToken tells whether a token can stand in a header.
func fitToken(token string) bool {
	if token == "" || len(token) > 16<<10 {
		return false
	}
	for i := range len(token) {
		if token[i] <= ' ' || token[i] > '~' {
			return false
		}
	}
	return true
}

// expiry is when to fetch another token: a minute before it expires, or at half its
// life if that is short. Some endpoints write the number as a string.
func expiry(now time.Time, expiresIn any) time.Time {
	var seconds float64
	switch v := expiresIn.(type) {
	case float64:
		seconds = v
	case string:
		if n, ok := digits(v); ok {
			seconds = float64(n)
		}
	}
	life := time.Duration(min(max(seconds, 0), 7*86400)) * time.Second
	if life == 0 {
		life = 5 * time.Minute // it did not say: soon enough to be safe
	}
	return now.Add(max(life/2, life-time.Minute))
}
