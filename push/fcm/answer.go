package fcm

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/trellisdb/trellis/push/provider"
)

const (
	quotaBackoff = time.Minute
	errorBackoff = 10 * time.Second
)

// fcmError is the type of the detail that names the reason.
const fcmError = "type.googleapis.com/google.firebase.fcm.v1.FcmError"

// legacyNames are the reasons' names in the legacy API, which clients may know.
var legacyNames = map[string]string{
	"UNREGISTERED": "NotRegistered", "SENDER_ID_MISMATCH": "MismatchSenderId", "QUOTA_EXCEEDED": "DeviceMessageRateExceeded",
	"UNAVAILABLE": "Unavailable", "INTERNAL": "InternalServerError",
}

// failure is what an answer of the v1 API says that is no success.
type failure struct {
	code     string // the reason, else the status; empty: nobody can make sense of it
	reason   bool   // code is FCM's own
	message  string
	badToken bool // it is the token that is invalid
}

// parseError reads an answer; anything but JSON of the right form is an empty failure.
func parseError(body []byte) failure {
	var said struct {
		Error struct {
			Status  string `json:"status"`
			Message string `json:"message"`
			Details []struct {
				Type       string `json:"@type"`
				ErrorCode  string `json:"errorCode"`
				Violations []struct {
					Field string `json:"field"`
				} `json:"fieldViolations"`
			} `json:"details"`
		} `json:"error"`
	}
	if err := json.Unmarshal(body, &said); err != nil {
		return failure{}
	}
	f := failure{code: said.Error.Status, message: said.Error.Message}
	for _, d := range said.Error.Details {
		if d.Type == fcmError && d.ErrorCode != "" && !f.reason {
			f.code, f.reason = d.ErrorCode, true
		}
		for _, v := range d.Violations {
			f.badToken = f.badToken || v.Field == "message.token"
		}
	}
	text := strings.ToLower(f.message)
	f.badToken = f.badToken || strings.Contains(text, "registration token") && strings.Contains(text, "valid")
	if len(f.code) > 64 {
		f.code = ""
	}
	return f
}

// v1Result is what an answer of the v1 API comes to.
func v1Result(a provider.Answer, now time.Time) provider.Result {
	if a.Status == http.StatusOK {
		var said struct {
			Name string `json:"name"`
		}
		if err := json.Unmarshal(a.Body, &said); err != nil || said.Name == "" {
			return provider.Again(provider.NotifierLevel, provider.CodeBadAnswer, "FCM answers 200 without the name of the message")
		}
		return provider.Result{ProviderID: provider.ClipID(said.Name)}
	}
	f := parseError(a.Body)
	r := f.result(a.Status)
	if r.Outcome == provider.Retry {
		r.RetryAfter = provider.RetryAfter(a.Header, now)
	}
	return r
}

func (f failure) result(status int) provider.Result {
	text := f.text(status)
	switch {
	case status == http.StatusTooManyRequests || f.code == "QUOTA_EXCEEDED":
		r := provider.Again(provider.NotifierLevel, f.or("QUOTA_EXCEEDED"), text)
		r.Backoff, r.SlowDown = quotaBackoff, true
		return r
	case f.code == "UNSPECIFIED_ERROR":
		return provider.Fail(f.code, text)
	case status >= 500:
		r := provider.Again(provider.NotifierLevel, f.or(serverCode(status)), text)
		r.Backoff = errorBackoff
		return r
	case f.code == "UNREGISTERED":
		return provider.Dead(f.code, text, time.Time{})
	case f.code == "INVALID_ARGUMENT":
		r := provider.Fail(f.code, text)
		r.Gone = f.badToken
		return r
	case f.code == "SENDER_ID_MISMATCH", f.code == "THIRD_PARTY_AUTH_ERROR":
		return provider.FailNotifier(f.code, text)
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return provider.Block(f.or(http.StatusText(status)), text)
	case status == http.StatusNotFound:
		return provider.FailNotifier(f.or("NOT_FOUND"), text)
	}
	return provider.Fail(f.or(provider.CodeBadAnswer), text)
}

// serverCode names a server's failure that it did not name itself.
func serverCode(status int) string {
	if status == http.StatusInternalServerError {
		return "INTERNAL"
	}
	return "UNAVAILABLE"
}

// or is the code, or another one if there is none.
func (f failure) or(code string) string {
	if f.code == "" {
		return code
	}
	return f.code
}

// text begins with the legacy name.
func (f failure) text(status int) string {
	text := f.message
	if text == "" {
		text = fmt.Sprintf("%d from FCM", status)
	}
	name := legacyNames[f.code]
	if f.code == "INVALID_ARGUMENT" && f.badToken {
		name = "InvalidRegistration"
	}
	if name == "" {
		return text
	}
	return "(" + name + ") " + text
}
