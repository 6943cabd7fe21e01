package fcm

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/trellisdb/trellis/push/provider"
)

// connections bounds those to a host. Each carries a hundred requests by HTTP/2.
const connections = 8

// v1 sends by the HTTP v1 API.
type v1 struct {
	cfg     provider.Config
	account *account
	client  *provider.Client
	tokens  *provider.Client // its own: the address may be a client's
	bearers *provider.Bearers
	life    *provider.Life
	url     string
}

func openV1(cfg provider.Config, a *account) *v1 {
	s := &v1{
		cfg: cfg, account: a, life: provider.NewLife(),
		client: provider.NewClient(cfg, provider.ClientOptions{Connections: connections}),
		tokens: provider.NewClient(cfg, provider.ClientOptions{Connections: 1, Guarded: !a.ours}),
		url:    strings.TrimSuffix(cfg.FCM, "/") + "/v1/projects/" + url.PathEscape(a.project) + "/messages:send",
	}
	s.bearers = provider.NewBearers(cfg.Now, func(ctx context.Context) (provider.Grant, provider.Result) {
		return a.grant(ctx, s.tokens, &s.cfg)
	})
	return s
}

// Send posts a message.
func (s *v1) Send(ctx context.Context, m provider.Message) provider.Result {
	p, ok := m.Payload.(*payload)
	if !ok {
		return provider.Fail(provider.CodeBadPayload, "the payload is not for a google notifier")
	}
	return s.send(ctx, s.body(m, p, false), m.Token)
}

// send posts a body, and once more if the token of access was refused.
func (s *v1) send(ctx context.Context, body []byte, token string) provider.Result {
	ctx, done := s.life.Begin(ctx)
	defer done()
	for again := false; ; again = true {
		bearer, refused := s.bearers.Get(ctx)
		if refused.Outcome != provider.Sent {
			return refused
		}
		answer, err := s.client.Post(ctx, provider.Request{
			URL:    s.url,
			Header: http.Header{"Authorization": {"Bearer " + bearer}, "Content-Type": {"application/json"}},
			Body:   body,
		})
		if err != nil {
			return provider.NetResult(ctx, err)
		}
		if answer.Status == http.StatusUnauthorized && parseError(answer.Body).code == "UNAUTHENTICATED" && !again {
			s.bearers.Refused(bearer)
			continue
		}
		return v1Result(answer, s.cfg.Now()).Scrub(bearer, token)
	}
}

// body is a request for a message.
func (s *v1) body(m provider.Message, p *payload, validateOnly bool) []byte {
	message := slices.Clone(p.message)
	if p.message == nil {
		message = s.message(m, p)
	}
	message = append(message, provider.Member{Name: "token", Value: provider.Marshal(m.Token)})
	request := []provider.Member{{Name: "message", Value: provider.Object(message)}}
	if validateOnly {
		request = append(request, provider.Member{Name: "validate_only", Value: []byte("true")})
	}
	return provider.Object(request)
}

func (s *v1) message(m provider.Message, p *payload) []provider.Member {
	var message []provider.Member
	if p.shows {
		body := provider.Object([]provider.Member{{Name: "body", Value: provider.Marshal(p.notification)}})
		message = append(message, provider.Member{Name: "notification", Value: body})
	} else {
		message = append(message, provider.Member{Name: "data", Value: provider.Object(p.stringData())})
	}
	android := []provider.Member{{Name: "priority", Value: provider.Marshal(strings.ToUpper(priority(m, p)))}}
	if seconds := ttl(&s.cfg, m, p); seconds >= 0 {
		android = append(android, provider.Member{Name: "ttl", Value: provider.Marshal(fmt.Sprintf("%ds", seconds))})
	}
	if p.collapseKey != "" {
		android = append(android, provider.Member{Name: "collapse_key", Value: provider.Marshal(p.collapseKey)})
	}
	return append(message, provider.Member{Name: "android", Value: provider.Object(android)})
}

// priority is high or normal, always.
func priority(m provider.Message, p *payload) string {
	switch {
	case p.priority != "":
		return p.priority
	case m.Priority == provider.PriorityHigh:
		return "high"
	}
	return "normal"
}

// ttl is how many seconds the service may keep a message; -1: nothing was said.
func ttl(cfg *provider.Config, m provider.Message, p *payload) int64 {
	switch {
	case p.ttl >= 0:
		return p.ttl
	case m.Expires.IsZero():
		return -1
	}
	return min(max(int64(m.Expires.Sub(cfg.Now()).Seconds()), 0), maxTTL)
}

// Probe fetches a token of access and has a message to nobody validated.
func (s *v1) Probe(ctx context.Context) provider.Verdict {
	p := &payload{ttl: -1}
	r := s.send(ctx, s.body(provider.Message{Token: "trellis-probe"}, p, true), "")
	switch {
	case r.Outcome == provider.Sent, r.Code == "UNREGISTERED", r.Code == "INVALID_ARGUMENT":
		return provider.Verdict{State: provider.Verified}
	case r.Outcome == provider.Blocked, r.Level == provider.NotifierLevel && r.Outcome == provider.Failed:
		return provider.Verdict{State: provider.Rejected, Code: r.Code, Message: provider.Clip("Google refuses the credentials: " + r.Message)}
	}
	return provider.Verdict{Code: r.Code, Message: r.Message}
}

// Close ends what runs and closes the connections.
func (s *v1) Close() {
	s.life.Close()
	s.client.Close()
	s.tokens.Close()
}
