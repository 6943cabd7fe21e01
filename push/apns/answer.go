package apns

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/trellisdb/trellis/push/provider"
)

// kind is what a reason means.
type kind int

const (
	fails   kind = iota // this message, for good
	topical             // every message of the notifier
	blocks              // the credentials
	slows               // the notifier as a whole is too fast
	again               // APNs is not well
	later               // this device gets too many
	dead                // the device is gone
)

// reasons are those of Apple's table that say more than their status.
var reasons = map[string]kind{
	"BadTopic": topical, "MissingTopic": topical, "TopicDisallowed": topical,
	"IdleTimeout":    again,
	"BadCertificate": blocks, "BadCertificateEnvironment": blocks, "Forbidden": blocks, "InvalidProviderToken": blocks,
	"MissingProviderToken": blocks, "UnrelatedKeyIdInToken": blocks, "BadEnvironmentKeyIdInToken": blocks, "ExpiredProviderToken": blocks,
	"Unregistered": dead, "ExpiredToken": dead,
	"TooManyRequests": later, "TooManyProviderTokenUpdates": slows,
	"InternalServerError": again, "ServiceUnavailable": again, "Shutdown": again,
}

// byStatus is what a reason means that is not in the table.
func byStatus(status int) kind {
	switch {
	case status == http.StatusForbidden:
		return blocks
	case status == http.StatusGone:
		return dead
	case status == http.StatusTooManyRequests:
		return later
	case status >= 500:
		return again
	}
	return fails
}

// result is what an answer comes to.
func (s *sender) result(a provider.Answer) provider.Result {
	id := provider.ClipID(a.Header.Get("apns-id"))
	if a.Status == http.StatusOK {
		return provider.Result{ProviderID: id}
	}
	var said struct {
		Reason    string  `json:"reason"`
		Timestamp float64 `json:"timestamp"` // ms
	}
	if err := json.Unmarshal(a.Body, &said); err != nil || said.Reason == "" || len(said.Reason) > 64 {
		said.Reason = strconv.Itoa(a.Status) // a proxy on the way, say
	}
	what, known := reasons[said.Reason]
	if !known {
		what = byStatus(a.Status)
	}
	message := fmt.Sprintf("%d from APNs", a.Status)
	var r provider.Result
	switch what {
	case topical:
		r = provider.FailNotifier(said.Reason, message)
	case blocks:
		r = provider.Block(said.Reason, message)
	case dead:
		r = provider.Dead(said.Reason, message, since(said.Timestamp))
	case later:
		r = provider.Again(provider.TokenLevel, said.Reason, message)
	case again, slows:
		r = provider.Again(provider.NotifierLevel, said.Reason, message)
		r.SlowDown = what == slows
	default:
		r = provider.Fail(said.Reason, message)
		r.Gone = said.Reason == "BadDeviceToken" && s.cfg.APNSClearBadTokens
	}
	if said.Reason == "IdleTimeout" {
		s.client.Reconnect()
	}
	r.RetryAfter = provider.RetryAfter(a.Header, s.cfg.Now())
	r.ProviderID = id
	return r
}

// since reads the time of an answer; one that makes no sense is none.
func since(ms float64) time.Time {
	if ms <= 0 || ms > 1e14 {
		return time.Time{}
	}
	return time.UnixMilli(int64(ms))
}
