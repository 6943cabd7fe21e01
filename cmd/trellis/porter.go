package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// porter speaks to a node for somebody who administers an application.
type porter struct {
	operator
	org, app    string
	credentials bool
}

func (p *porter) flags(c *cobra.Command) {
	p.operator.flags(c)
	c.Flags().StringVar(&p.org, "org", "", "organisation")
	c.Flags().StringVar(&p.app, "app", "", "application")
	c.Flags().BoolVar(&p.credentials, "credentials", false, "hashes of passwords, too; for the superuser alone")
	_ = c.MarkFlagRequired("org") // they exist
	_ = c.MarkFlagRequired("app")
}

// signingIn says how the commands that carry applications sign in.
const signingIn = `Who signs in comes from the environment, since command lines are public:
TRELLIS_TOKEN is an access token of somebody who administers the application, or
TRELLIS_CLIENT_ID and TRELLIS_CLIENT_SECRET are credentials of its organisation;
without them the superuser does, with TRELLIS_SUPERUSER_PASSWORD.`

// authorize puts credentials into a request.
func (p *porter) authorize(req *http.Request) error {
	if token := os.Getenv(envPrefix + "TOKEN"); token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
		return nil
	}
	if id := os.Getenv(envPrefix + "CLIENT_ID"); id != "" {
		req.SetBasicAuth(id, os.Getenv(envPrefix+"CLIENT_SECRET"))
		return nil
	}
	password := os.Getenv(envPrefix + "SUPERUSER_PASSWORD")
	if password == "" {
		return errors.New("set TRELLIS_TOKEN, or TRELLIS_CLIENT_ID and TRELLIS_CLIENT_SECRET, or TRELLIS_SUPERUSER_PASSWORD")
	}
	req.SetBasicAuth(p.name, password)
	return nil
}

// request makes a request to a path of segments.
func (p *porter) request(ctx context.Context, method string, body io.Reader, query url.Values, segments ...string) (*http.Request, error) {
	target := strings.TrimSuffix(p.url, "/")
	for _, s := range segments {
		target += "/" + url.PathEscape(s)
	}
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, err
	}
	return req, p.authorize(req)
}

// How long a piece of an import is tried again while the cluster is in trouble.
const (
	pieceTimeout = 5 * time.Minute // the last piece of a large file may go to an object store
	firstPause   = 200 * time.Millisecond
	longestPause = 10 * time.Second
	patience     = 10 * time.Minute
)

// passing reports whether an answer may be another one soon.
func passingStatus(status int) bool {
	return status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests ||
		status == http.StatusBadGateway || status == http.StatusGatewayTimeout
}

// post sends a piece until it was taken or refused for good, and decodes the data of the
// answer. Sending it twice does no harm.
func (p *porter) post(ctx context.Context, body []byte, query url.Values, data any, segments ...string) error {
	pause, until := firstPause, time.Now().Add(patience)
	for {
		again, err := p.postOnce(ctx, body, query, data, segments)
		if err == nil || !again || ctx.Err() != nil || time.Now().After(until) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
			pause = min(2*pause, longestPause)
		}
	}
}

func (p *porter) postOnce(ctx context.Context, body []byte, query url.Values, data any, segments []string) (again bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, pieceTimeout)
	defer cancel()
	req, err := p.request(ctx, http.MethodPost, strings.NewReader(string(body)), query, segments...)
	if err != nil {
		return false, err
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return true, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return passingStatus(resp.StatusCode), refusalOf(p.url, resp)
	}
	answer := struct {
		Data any `json:"data"`
	}{data}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 64<<20)).Decode(&answer); err != nil {
		return true, fmt.Errorf("%s: answer cannot be read: %w", p.url, err)
	}
	return false, nil
}
