package wns

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/trellisdb/trellis/push/provider"
)

// connections bounds those to a host.
const connections = 20

// maxChannel bounds the URL of a channel, in bytes.
const maxChannel = 2048

type sender struct {
	cfg     provider.Config
	client  *provider.Client // channels are clients' words
	tokens  *provider.Client
	bearers *provider.Bearers
	life    *provider.Life
}

// Open makes a sender.
func (p *Provider) Open(n provider.Notifier) (provider.Sender, error) {
	s := &sender{
		cfg: p.cfg, life: provider.NewLife(),
		client: provider.NewClient(p.cfg, provider.ClientOptions{Guarded: true, Connections: connections}),
		tokens: provider.NewClient(p.cfg, provider.ClientOptions{Connections: 1}),
	}
	c := credentialsOf(&p.cfg, n)
	s.bearers = provider.NewBearers(p.cfg.Now, func(ctx context.Context) (provider.Grant, provider.Result) {
		return provider.FetchGrant(ctx, s.tokens, p.cfg.Now, c.endpoint, c.form, c.secret)
	})
	return s, nil
}

// Send posts the parts of a message, one after the other.
func (s *sender) Send(ctx context.Context, m provider.Message) provider.Result {
	p, ok := m.Payload.(*payload)
	switch {
	case !ok:
		return provider.Fail(provider.CodeBadPayload, "the payload is not for a windows notifier")
	case p.badRaw:
		return provider.Fail(provider.CodeBadPayload, "raw of the windows payload is no string")
	case !s.isChannel(m.Token):
		return provider.Fail(provider.CodeBadToken, "the channel is no https URL on a host of WNS")
	}
	ctx, done := s.life.Begin(ctx)
	defer done()
	var last provider.Result
	for i, part := range p.parts {
		if i < m.Accepted {
			continue
		}
		last = s.post(ctx, m, part)
		if last.Outcome != provider.Sent {
			last.Accepted = i
			return last
		}
	}
	last.Accepted = len(p.parts)
	return last
}

// isChannel tells whether a token is a URL that may be posted to.
func (s *sender) isChannel(token string) bool {
	u, err := provider.ParseURL(token)
	if err != nil || len(token) > maxChannel {
		return false
	}
	host := strings.ToLower(u.Hostname())
	for _, known := range s.cfg.WNSHosts {
		if host == known || strings.HasPrefix(known, ".") && strings.HasSuffix(host, known) {
			return true
		}
	}
	return false
}

// post posts a part, and once more if the token of access was refused.
func (s *sender) post(ctx context.Context, m provider.Message, part part) provider.Result {
	for again := false; ; again = true {
		bearer, refused := s.bearers.Get(ctx)
		if refused.Outcome != provider.Sent {
			return refused
		}
		answer, err := s.client.Post(ctx, provider.Request{URL: m.Token, Header: s.header(bearer, m, part), Body: part.body})
		if err != nil {
			return provider.NetResult(ctx, err)
		}
		if answer.Status == http.StatusUnauthorized && !again {
			s.bearers.Refused(bearer)
			continue
		}
		return result(answer, s.cfg.Now()).Scrub(bearer, m.Token)
	}
}

func (s *sender) header(bearer string, m provider.Message, part part) http.Header {
	h := http.Header{}
	h.Set("Authorization", "Bearer "+bearer)
	h.Set("X-WNS-Type", "wns/"+part.kind)
	h.Set("X-WNS-RequestForStatus", "true")
	h.Set("Content-Type", "text/xml")
	if part.kind == "raw" {
		h.Set("Content-Type", "application/octet-stream")
		h.Set("X-WNS-Cache-Policy", "cache")
	}
	if !m.Expires.IsZero() {
		h.Set("X-WNS-TTL", strconv.FormatInt(max(int64(m.Expires.Sub(s.cfg.Now()).Seconds()), 0), 10))
	}
	return h
}

// result is what an answer comes to.
func result(a provider.Answer, now time.Time) provider.Result {
	code := strconv.Itoa(a.Status)
	text := code + " from WNS"
	if said := a.Header.Get("X-WNS-Error-Description"); said != "" {
		text += ": " + said
	}
	var r provider.Result
	switch {
	case a.Status == http.StatusOK:
		r = accepted(a.Header)
	case a.Status == http.StatusUnauthorized:
		r = provider.Block(code, text)
	case a.Status == http.StatusForbidden:
		r = provider.FailNotifier(code, text)
	case a.Status == http.StatusNotFound, a.Status == http.StatusGone:
		r = provider.Dead(code, text, time.Time{})
	case a.Status == http.StatusNotAcceptable, a.Status == http.StatusTooManyRequests:
		r = provider.Again(provider.TokenLevel, code, text)
	case a.Status >= 500:
		r = provider.Again(provider.NotifierLevel, code, text)
	default:
		r = provider.Fail(code, text)
	}
	if r.Outcome == provider.Retry {
		r.RetryAfter = provider.RetryAfter(a.Header, now)
	}
	r.ProviderID = provider.ClipID(a.Header.Get("X-WNS-Msg-ID"))
	return r
}

// accepted is what an answer of 200 comes to, by its status header.
func accepted(h http.Header) provider.Result {
	status := h.Get("X-WNS-Status")
	if status == "" {
		status = h.Get("X-WNS-NotificationStatus")
	}
	switch status {
	case "dropped":
		return provider.Fail(status, "WNS has dropped the notification")
	case "channelthrottled":
		return provider.Again(provider.TokenLevel, status, "WNS finds that the channel gets too many")
	}
	return provider.Result{}
}

// Probe fetches a token of access.
func (s *sender) Probe(ctx context.Context) provider.Verdict {
	ctx, done := s.life.Begin(ctx)
	defer done()
	_, r := s.bearers.Get(ctx)
	switch r.Outcome {
	case provider.Sent:
		return provider.Verdict{State: provider.Verified}
	case provider.Blocked:
		return provider.Verdict{State: provider.Rejected, Code: r.Code, Message: provider.Clip("Microsoft refuses the credentials: " + r.Message)}
	}
	return provider.Verdict{Code: r.Code, Message: r.Message}
}

// Close ends what runs and closes the connections.
func (s *sender) Close() {
	s.life.Close()
	s.client.Close()
	s.tokens.Close()
}
