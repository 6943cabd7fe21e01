package signin

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// MaxProfileBytes bounds what a service answers about a token.
const MaxProfileBytes = 64 << 10

// maxDocumentBytes bounds a document of an issuer: its metadata, its keys.
const maxDocumentBytes = 512 << 10

// HTTP says how a service is reached. Begin with DefaultHTTP.
type HTTP struct {
	Timeout time.Duration  // of each request
	RootCAs *x509.CertPool // who may vouch for the service; nil: whom the system trusts
}

// DefaultHTTP returns a working configuration.
func DefaultHTTP() HTTP { return HTTP{Timeout: 5 * time.Second} }

// client speaks HTTP to one service.
type client struct {
	http *http.Client
}

func newClient(cfg HTTP) (*client, error) {
	if cfg.Timeout <= 0 {
		return nil, fmt.Errorf("signin: time-out is %s, want more than 0", cfg.Timeout)
	}
	transport := &http.Transport{
		Proxy:                  nil, // an environment variable must not send tokens elsewhere
		DialContext:            (&net.Dialer{Timeout: cfg.Timeout}).DialContext,
		TLSClientConfig:        &tls.Config{RootCAs: cfg.RootCAs, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    cfg.Timeout,
		ForceAttemptHTTP2:      true,
		MaxConnsPerHost:        32,
		MaxIdleConnsPerHost:    4,
		IdleConnTimeout:        30 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
	return &client{http: &http.Client{Transport: bounded{transport}, Timeout: cfg.Timeout, CheckRedirect: sameHost}}, nil
}

func (c *client) close() { c.http.CloseIdleConnections() }

// errElsewhere is a redirection that is not followed.
var errElsewhere = errors.New("it redirects to another host, or too often")

// sameHost follows redirections on the same host, and few.
func sameHost(next *http.Request, via []*http.Request) error {
	first := via[0].URL
	if next.URL.Scheme != first.Scheme || next.URL.Host != first.Host || len(via) > 3 {
		return errElsewhere
	}
	return nil
}

// errTooLong is an answer that nobody reads to its end.
var errTooLong = errors.New("its answer is too long")

// bounded is a transport whose answers end with errTooLong when they are longer than
// maxDocumentBytes, once unpacked.
type bounded struct{ *http.Transport }

// RoundTrip is that of http.RoundTripper.
func (b bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := b.Transport.RoundTrip(req)
	if err == nil {
		resp.Body = &boundedBody{ReadCloser: resp.Body, left: maxDocumentBytes}
	}
	return resp, err
}

type boundedBody struct {
	io.ReadCloser
	left int
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if len(p) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if n > b.left {
		return b.left, errTooLong
	}
	b.left -= n
	return n, err
}

// get fetches what a service says at a URL, up to limit bytes. bearer goes into the
// header, unless it is empty; secrets are what errors must not hold.
func (c *client) get(ctx context.Context, from *url.URL, bearer string, limit int, secrets ...string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from.String(), nil)
	if err != nil {
		return nil, unavailable(errors.New("the request cannot be made"))
	}
	req.Header.Set("Accept", "application/json")
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, unavailable(withoutURL(err, secrets...))
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden:
		return nil, refused("the service answers %d", resp.StatusCode)
	default:
		return nil, unavailable(fmt.Errorf("it answers %d", resp.StatusCode))
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, int64(limit)+1))
	switch {
	case err == nil && len(body) > limit:
		err = errTooLong
	case err == nil: // a server that sees a request cancelled may end its answer early
		err = ctx.Err()
	}
	if err != nil {
		return nil, unavailable(withoutURL(err, secrets...))
	}
	return body, nil
}

// withoutURL takes the URL off an error of net/http, since a token may stand in it,
// and all of an error that holds a secret elsewhere.
func withoutURL(err error, secrets ...string) error {
	var with *url.Error
	if errors.As(err, &with) {
		err = with.Err
	}
	text := err.Error()
	for _, s := range secrets {
		if strings.Contains(text, s) || strings.Contains(text, url.QueryEscape(s)) {
			return errors.New("the exchange failed")
		}
	}
	return err
}

// parseURL reads the URL of a service from the configuration or from a document of
// an issuer. Tokens do not travel unencrypted, except within this machine.
func parseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "":
		return nil, fmt.Errorf("signin: %q is no URL of a service", text)
	case u.User != nil || u.Fragment != "":
		return nil, fmt.Errorf("signin: the URL of %s has a user or a fragment", u.Host)
	case u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())):
		return nil, fmt.Errorf("signin: %s must be reached by https", u.Host)
	}
	return u, nil
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.IsLoopback()
}

// refused makes an ErrRefused with its reason.
func refused(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrRefused, fmt.Sprintf(format, args...))
}

// unavailable makes an ErrUnavailable with its cause.
func unavailable(cause error) error { return fmt.Errorf("%w: %w", ErrUnavailable, cause) }
