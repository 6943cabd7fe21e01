package fcm

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/trellisdb/trellis/push/provider"
)

// maxBatch is how many devices the legacy API takes at a time.
const maxBatch = 1000

// legacy sends by the legacy API, to the operator's endpoint.
type legacy struct {
	cfg    provider.Config
	key    string
	client *provider.Client
	life   *provider.Life
}

func openLegacy(cfg provider.Config, key string) *legacy {
	return &legacy{
		cfg: cfg, key: key, life: provider.NewLife(),
		client: provider.NewClient(cfg, provider.ClientOptions{Connections: connections}),
	}
}

// MaxBatch is how many messages SendBatch takes.
func (s *legacy) MaxBatch() int { return maxBatch }

// Send posts one message.
func (s *legacy) Send(ctx context.Context, m provider.Message) provider.Result {
	return s.SendBatch(ctx, []provider.Message{m})[0]
}

// SendBatch posts messages in one request.
func (s *legacy) SendBatch(ctx context.Context, messages []provider.Message) []provider.Result {
	if len(messages) == 0 {
		return nil
	}
	p, ok := messages[0].Payload.(*payload)
	switch {
	case !ok || p.message != nil:
		return all(len(messages), provider.Fail(provider.CodeBadPayload, "the payload is not for a google notifier with apiKey only"))
	case len(messages) > maxBatch:
		return all(len(messages), provider.Fail(provider.CodeBadPayload, "there are too many messages in a batch"))
	case s.cfg.GCM == "":
		return all(len(messages), provider.FailNotifier(provider.CodeLegacy, unsupported))
	}
	var tokens []string
	at := map[string]int{}
	for _, m := range messages {
		if _, ok := at[m.Token]; !ok {
			at[m.Token] = len(tokens)
			tokens = append(tokens, m.Token)
		}
	}
	results := s.post(ctx, s.body(messages[0], p, tokens, false), tokens)
	out := make([]provider.Result, len(messages))
	for i, m := range messages {
		out[i] = results[at[m.Token]]
	}
	return out
}

const unsupported = "Google no longer takes messages with an apiKey: give the notifier a serviceAccount, or the server an endpoint that takes them"

func all(n int, r provider.Result) []provider.Result {
	out := make([]provider.Result, n)
	for i := range out {
		out[i] = r
	}
	return out
}

func (s *legacy) body(m provider.Message, p *payload, tokens []string, dryRun bool) []byte {
	request := []provider.Member{{Name: "registration_ids", Value: provider.Marshal(tokens)}}
	if p.shows {
		body := provider.Object([]provider.Member{{Name: "body", Value: provider.Marshal(p.notification)}})
		request = append(request, provider.Member{Name: "notification", Value: body})
	} else {
		request = append(request, provider.Member{Name: "data", Value: provider.Object(p.data)})
	}
	if seconds := ttl(&s.cfg, m, p); seconds >= 0 {
		request = append(request, provider.Member{Name: "time_to_live", Value: provider.Marshal(seconds)})
	}
	request = append(request, provider.Member{Name: "priority", Value: provider.Marshal(priority(m, p))})
	if p.collapseKey != "" {
		request = append(request, provider.Member{Name: "collapse_key", Value: provider.Marshal(p.collapseKey)})
	}
	if dryRun {
		request = append(request, provider.Member{Name: "dry_run", Value: []byte("true")})
	}
	return provider.Object(request)
}

// post posts a body and answers a result for each of its tokens.
func (s *legacy) post(ctx context.Context, body []byte, tokens []string) []provider.Result {
	ctx, done := s.life.Begin(ctx)
	defer done()
	answer, err := s.client.Post(ctx, provider.Request{
		URL:    s.cfg.GCM,
		Header: http.Header{"Authorization": {"key=" + s.key}, "Content-Type": {"application/json"}},
		Body:   body,
		Limit:  provider.MaxBatchAnswerBytes,
	})
	if err != nil {
		return all(len(tokens), provider.NetResult(ctx, err))
	}
	results := s.results(answer, len(tokens))
	for i := range results {
		results[i] = results[i].Scrub(s.key, tokens[i])
	}
	return results
}

// legacyAnswer is an answer of the legacy API.
type legacyAnswer struct {
	Results []struct {
		MessageID any    `json:"message_id"`
		Canonical string `json:"registration_id"`
		Error     string `json:"error"`
	} `json:"results"`
}

// results is what an answer comes to for each of n tokens.
func (s *legacy) results(a provider.Answer, n int) []provider.Result {
	wait := provider.RetryAfter(a.Header, s.cfg.Now())
	switch {
	case a.Status == http.StatusUnauthorized:
		return all(n, provider.FailNotifier("InvalidRegistration", "401 from GCM: the apiKey is refused"))
	case a.Status == http.StatusTooManyRequests:
		r := provider.Again(provider.NotifierLevel, "DeviceMessageRateExceeded", "429 from GCM")
		r.RetryAfter, r.Backoff, r.SlowDown = wait, quotaBackoff, true
		return all(n, r)
	case a.Status >= 500:
		r := provider.Again(provider.NotifierLevel, "Unavailable", fmt.Sprintf("%d from GCM", a.Status))
		r.RetryAfter = wait
		return all(n, r)
	case a.Status != http.StatusOK:
		return all(n, provider.FailNotifier(provider.CodeBadAnswer, fmt.Sprintf("%d from GCM", a.Status)))
	}
	var said legacyAnswer
	if err := json.Unmarshal(a.Body, &said); err != nil || len(said.Results) != n {
		return all(n, provider.Again(provider.NotifierLevel, provider.CodeBadAnswer, "GCM answers 200 without a result for each device"))
	}
	out := make([]provider.Result, n)
	for i, r := range said.Results {
		if r.Error == "" {
			out[i] = provider.Result{NewToken: newToken(r.Canonical), ProviderID: provider.ClipID(fmt.Sprint(r.MessageID))}
			continue
		}
		out[i] = legacyFailure(r.Error, wait)
	}
	return out
}

// newToken is a token that takes another's place; one too long for that is none.
func newToken(token string) string {
	if len(token) > 4096 {
		return ""
	}
	return token
}

func legacyFailure(name string, wait time.Duration) provider.Result {
	if len(name) > 64 {
		name = provider.CodeBadAnswer
	}
	text := name + " from GCM"
	switch name {
	case "NotRegistered", "InvalidRegistration":
		return provider.Dead(name, text, time.Time{})
	case "Unavailable", "InternalServerError":
		r := provider.Again(provider.NotifierLevel, name, text)
		r.RetryAfter = wait
		return r
	case "DeviceMessageRateExceeded":
		r := provider.Again(provider.TokenLevel, name, text)
		r.RetryAfter = wait
		return r
	case "MismatchSenderId", "InvalidPackageName":
		return provider.FailNotifier(name, text)
	}
	return provider.Fail(name, text)
}

// Probe posts a dry run to nobody.
func (s *legacy) Probe(ctx context.Context) provider.Verdict {
	if s.cfg.GCM == "" {
		return provider.Verdict{State: provider.Unsupported, Code: provider.CodeLegacy, Message: unsupported}
	}
	tokens := []string{"trellis-probe"}
	p := &payload{ttl: -1}
	r := s.post(ctx, s.body(provider.Message{}, p, tokens, true), tokens)[0]
	switch {
	case r.Outcome == provider.Failed && r.Level == provider.NotifierLevel && r.Code == "InvalidRegistration":
		return provider.Verdict{State: provider.Rejected, Code: r.Code, Message: "the service refuses the apiKey or the ids"}
	case r.Outcome == provider.Sent, r.Outcome == provider.Failed && r.Level == provider.TokenLevel:
		return provider.Verdict{State: provider.Verified}
	}
	return provider.Verdict{Code: r.Code, Message: r.Message}
}

// Close ends what runs and closes the connections.
func (s *legacy) Close() {
	s.life.Close()
	s.client.Close()
}
