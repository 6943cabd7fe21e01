package webpush

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/trellisdb/trellis/push/provider"
)

// connections bounds those to a host.
const connections = 20

type sender struct {
	cfg      provider.Config
	client   *provider.Client
	life     *provider.Life
	vapid    vapid
	ttl      int64 // seconds, of a message of which nothing was said
	refusals refusals
}

// Open makes a sender.
func (p *Provider) Open(n provider.Notifier) (provider.Sender, error) {
	key, err := parsePrivate(n.Secrets["vapidPrivateKey"])
	if err != nil {
		return nil, fmt.Errorf("open a webpush notifier: %w", err)
	}
	s := &sender{
		cfg: p.cfg, life: provider.NewLife(), ttl: defaultTTL,
		client: provider.NewClient(p.cfg, provider.ClientOptions{Guarded: true, Connections: connections}),
		vapid:  vapid{key: key, public: encode(publicBytes(key)), subject: n.Text("subject"), now: p.cfg.Now},
	}
	if ttl, ok := seconds(n.Properties["defaultTtl"]); ok {
		s.ttl = ttl
	}
	return s, nil
}

// Send encrypts a message and posts it.
func (s *sender) Send(ctx context.Context, m provider.Message) provider.Result {
	p, ok := m.Payload.(*payload)
	if !ok {
		return provider.Fail(provider.CodeBadPayload, "the payload is not for a webpush notifier")
	}
	sub, err := parseSubscription([]byte(m.Token))
	if err != nil {
		return provider.Fail(provider.CodeBadToken, "the device holds no whole push subscription")
	}
	ctx, done := s.life.Begin(ctx)
	defer done()
	body, err := sealed(sub, p.plain)
	if err != nil {
		return provider.Fail(provider.CodeBadToken, "nothing can be encrypted for the push subscription")
	}
	header, err := s.header(sub, m, p)
	if err != nil {
		return provider.Block("401", "the VAPID key does not sign")
	}
	endpoint := sub.endpoint.String()
	answer, err := s.client.Post(ctx, provider.Request{URL: endpoint, Header: header, Body: body})
	if err != nil {
		return provider.NetResult(ctx, err)
	}
	return s.result(answer, sub.origin(), endpoint).Scrub(header.Get("Authorization"), endpoint)
}

// sealed encrypts with a key and a salt that are used once.
func sealed(sub *subscription, plain []byte) ([]byte, error) {
	own, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	salt := make([]byte, saltSize)
	if _, err := rand.Read(salt); err != nil {
		return nil, err
	}
	return encrypt(sub, own, salt, plain)
}

func (s *sender) header(sub *subscription, m provider.Message, p *payload) (http.Header, error) {
	authorization, err := s.vapid.authorization(sub.origin())
	if err != nil {
		return nil, err
	}
	h := http.Header{}
	h.Set("Authorization", authorization)
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Encoding", "aes128gcm")
	h.Set("TTL", strconv.FormatInt(s.timeToLive(m, p), 10))
	h.Set("Urgency", urgency(m, p))
	if p.topic != "" {
		h.Set("Topic", p.topic)
	}
	return h, nil
}

// timeToLive is how many seconds the service may keep a message.
func (s *sender) timeToLive(m provider.Message, p *payload) int64 {
	switch {
	case p.ttl >= 0:
		return p.ttl
	case m.Expires.IsZero():
		return s.ttl
	}
	return min(max(int64(m.Expires.Sub(s.cfg.Now()).Seconds()), 0), maxTTL)
}

func urgency(m provider.Message, p *payload) string {
	switch {
	case p.urgency != "":
		return p.urgency
	case m.Priority == provider.PriorityHigh:
		return "high"
	}
	return "normal"
}

// result is what an answer comes to.
func (s *sender) result(a provider.Answer, origin, endpoint string) provider.Result {
	code := strconv.Itoa(a.Status)
	text := code + " from the push service: " + string(a.Body[:min(len(a.Body), provider.MaxMessageBytes)])
	switch {
	case a.Status == http.StatusOK, a.Status == http.StatusCreated, a.Status == http.StatusAccepted:
		s.refusals.taken(origin)
		return provider.Result{ProviderID: provider.ClipID(a.Header.Get("Location"))}
	case a.Status == http.StatusUnauthorized, a.Status == http.StatusForbidden:
		if s.refusals.refused(origin, endpoint) {
			return provider.FailNotifier(code, text)
		}
		return provider.Fail(code, text)
	case a.Status == http.StatusNotFound, a.Status == http.StatusGone:
		return provider.Dead(code, text, time.Time{})
	case a.Status == http.StatusTooManyRequests:
		r := provider.Again(provider.TokenLevel, code, text)
		r.RetryAfter = provider.RetryAfter(a.Header, s.cfg.Now())
		return r
	case a.Status >= 500:
		r := provider.Again(provider.NotifierLevel, code, text)
		r.RetryAfter = provider.RetryAfter(a.Header, s.cfg.Now())
		return r
	}
	return provider.Fail(code, text)
}

// Probe finds nothing out: a service can be asked with a subscription only.
func (s *sender) Probe(context.Context) provider.Verdict { return provider.Verdict{} }

// Close ends what runs and closes the connections.
func (s *sender) Close() {
	s.life.Close()
	s.client.Close()
}
