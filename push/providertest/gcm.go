package providertest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
)

// GCM speaks the legacy API of Google's service. Devices are named by their token; an
// answer with a status is the answer to the whole request.
type GCM struct {
	service
	keys struct {
		sync.Mutex
		known []string
	}
}

// NewGCM starts one.
func NewGCM(t testing.TB) *GCM {
	t.Helper()
	g := &GCM{}
	g.start(t, http.HandlerFunc(g.serve), nil)
	return g
}

// Endpoint is where messages are posted.
func (g *GCM) Endpoint() string { return g.URL() + "/gcm/send" }

// AddKey makes it know an apiKey.
func (g *GCM) AddKey(key string) {
	g.keys.Lock()
	defer g.keys.Unlock()
	g.keys.known = append(g.keys.known, "key="+key)
}

func (g *GCM) serve(w http.ResponseWriter, r *http.Request) {
	body := g.body(r)
	var m struct {
		Tokens   []string `json:"registration_ids"`
		Priority string   `json:"priority"`
		TTL      *int64   `json:"time_to_live"`
		DryRun   bool     `json:"dry_run"`
	}
	if err := json.Unmarshal(body, &m); err != nil || r.Method != http.MethodPost || r.URL.Path != "/gcm/send" {
		g.complain("GCM: %s %s with %q", r.Method, r.URL.Path, body)
	}
	if len(m.Tokens) == 0 || len(m.Tokens) > 1000 || m.Priority != "high" && m.Priority != "normal" || m.TTL != nil && (*m.TTL < 0 || *m.TTL > 2419200) {
		g.complain("GCM: a message of %d ids, priority %q", len(m.Tokens), m.Priority)
	}
	var results []map[string]any
	whole := Answer{}
	seen := map[string]bool{}
	for _, token := range m.Tokens {
		if seen[token] {
			g.complain("GCM: a token twice")
		}
		seen[token] = true
		answer := g.got(r, token, body)
		if !g.hold(w, r, answer) {
			return
		}
		if answer.Status != 0 {
			whole = answer
			if whole.Echo {
				whole.Body = echo(r, token)
			}
		}
		results = append(results, gcmResult(answer, len(results), m.DryRun))
	}
	g.keys.Lock()
	known := slices.Contains(g.keys.known, r.Header.Get("Authorization"))
	g.keys.Unlock()
	switch {
	case whole.Status != 0:
		w.WriteHeader(whole.Status)
		fmt.Fprint(w, whole.Body)
	case !known:
		w.WriteHeader(http.StatusUnauthorized)
	case whole.Body != "":
		fmt.Fprint(w, whole.Body)
	default:
		text, _ := json.Marshal(map[string]any{"multicast_id": 1, "results": results})
		_, _ = w.Write(text)
	}
}

func gcmResult(a Answer, i int, dryRun bool) map[string]any {
	switch {
	case a.Reason != "":
		return map[string]any{"error": a.Reason}
	case dryRun:
		return map[string]any{"error": "InvalidRegistration"}
	}
	result := map[string]any{"message_id": fmt.Sprintf("0:%d", i+1)}
	if a.Canonical != "" {
		result["registration_id"] = a.Canonical
	}
	return result
}
