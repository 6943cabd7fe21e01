package wiretest

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/trellisdb/trellis/push/providertest"
)

// answer is what a service says to a device, once.
type answer = providertest.Answer

// script is how a service is told what to answer.
type script interface {
	On(device string, answers ...answer)
	Count(device string) int
}

// codeCase is a row of the tables of codes (spec push-notifications section 9): what the
// service answers, and what becomes of the delivery.
type codeCase struct {
	answers  []answer
	end      string // state, sent, errors, devices; empty: FINISHED 1 0 1
	code     string // errorCode of the receipt; empty: sent
	attempts int    // of the receipt; 0: not looked at
	requests int    // that the service has got; 0: not looked at
	dead     bool   // the device has lost its token
	words    string // of the errorMessage of the notification that has FAILED
}

// times is an answer several times.
func times(n int, a answer) []answer {
	a.Times = n
	return []answer{a}
}

func once(status int, reason string) []answer {
	return []answer{{Status: status, Reason: reason}}
}

// Ends of notifications to one device.
const (
	finished = "FINISHED 1 0 1"
	failing  = "FINISHED 0 1 1" // it is the device's failure
	failed   = "FAILED 0 1 1"   // it is the notifier's, or the service's
)

// runCodes sends a notification for each case: to a device of its own, by a notifier of its
// own, at the same time as all others.
func (w *world) runCodes(body map[string]any, payload string, service script, token func(device string) (text, name string), cases []codeCase) {
	w.Helper()
	type sent struct{ notifier, device, scripted, id string }
	var all []sent
	for i, tc := range cases {
		s := sent{notifier: fmt.Sprintf("%v-%d", body["name"], i), device: fmt.Sprintf("%v-d%d", body["name"], i)}
		own := map[string]any{}
		for key, value := range body {
			own[key] = value
		}
		own["name"] = s.notifier
		if n := w.notifier(own); n["verified"] == false {
			w.Errorf("notifier %v", n)
		}
		text, name := token(s.device)
		w.device(s.device, s.notifier, text)
		service.On(name, tc.answers...)
		s.scripted = name
		s.id = w.notify("/devices/"+s.device, fmt.Sprintf(`{%q:%s}`, s.notifier, payload), "")
		all = append(all, s)
	}
	for i, tc := range cases {
		w.Run(fmt.Sprintf("%d %s", i, described(tc.answers)), func(t *testing.T) {
			w.checkCode(t, tc, all[i].id, all[i].notifier, all[i].device)
			if got := service.Count(all[i].scripted); tc.requests != 0 && got != tc.requests {
				t.Errorf("%d requests, want %d", got, tc.requests)
			}
		})
	}
}

// checkCode checks what has become of a case.
func (w *world) checkCode(t *testing.T, tc codeCase, id, notifier, device string) {
	t.Helper()
	n := w.ended(id)
	want := tc.end
	if want == "" {
		want = finished
	}
	if got := summary(n); got != want {
		t.Errorf("ended %s, want %s; %v", got, want, n["errorMessage"])
	}
	message := fmt.Sprint(n["errorMessage"])
	if isFailed := strings.HasPrefix(want, "FAILED"); isFailed && (!strings.Contains(message, tc.code) || !strings.Contains(message, notifier) || !strings.Contains(message, tc.words)) ||
		!isFailed && n["errorMessage"] != nil {
		t.Errorf("errorMessage %q", message)
	}
	r := w.receipt(id)
	if got := r["errorCode"]; tc.code == "" && (got != nil || r["sent"] == nil) || tc.code != "" && (fmt.Sprint(got) != tc.code || r["sent"] != nil || fmt.Sprint(r["errorMessage"]) == "") {
		t.Errorf("receipt %v, want code %q", r, tc.code)
	}
	if got := fmt.Sprint(r["attempts"]); tc.attempts != 0 && got != fmt.Sprint(tc.attempts) {
		t.Errorf("%s attempts, want %d", got, tc.attempts)
	}
	if r["notifier"] != notifier || r["payload"] == nil || r["notifierId"] == nil || r["deviceId"] == nil {
		t.Errorf("receipt %v", r)
	}
	if w.holds(device, notifier) == tc.dead {
		t.Errorf("the device is registered: %v", !tc.dead)
	}
}

func described(answers []answer) string {
	var parts []string
	for _, a := range answers {
		switch {
		case a.Cut:
			parts = append(parts, "cut")
		case a.Status != 0:
			parts = append(parts, strings.TrimSpace(fmt.Sprint(a.Status, " ", a.Reason)))
		case a.Reason != "":
			parts = append(parts, a.Reason)
		default:
			parts = append(parts, "other")
		}
	}
	return strings.Join(parts, ", ")
}

// hexOf is an APNs token for a device.
func hexOf(device string) string { return fmt.Sprintf("%064x", device) }

func codesOfAPNs(t *testing.T, w *world) {
	cases := []codeCase{
		{answers: nil, attempts: 1, requests: 1},
		{answers: once(400, "BadDeviceToken"), end: failing, code: "BadDeviceToken", attempts: 1},
		{answers: once(400, "DeviceTokenNotForTopic"), end: failing, code: "DeviceTokenNotForTopic"},
		{answers: once(400, "IdleTimeout"), attempts: 2},
		{answers: once(403, "ExpiredProviderToken"), requests: 2},
		{answers: once(404, "BadPath"), end: failing, code: "BadPath"},
		{answers: once(405, "MethodNotAllowed"), end: failing, code: "MethodNotAllowed"},
		{answers: once(410, "Unregistered"), end: failing, code: "Unregistered", attempts: 1, requests: 1, dead: true},
		{answers: once(410, "ExpiredToken"), end: failing, code: "ExpiredToken", dead: true},
		{answers: once(413, "PayloadTooLarge"), end: failing, code: "PayloadTooLarge"},
		{answers: once(429, "TooManyRequests"), attempts: 2, requests: 2},
		{answers: once(429, "TooManyProviderTokenUpdates"), attempts: 2},
		{answers: once(500, "InternalServerError"), attempts: 2},
		{answers: once(503, "ServiceUnavailable"), attempts: 2},
		{answers: once(503, "Shutdown"), attempts: 2},
		{answers: times(9, answer{Status: 503, Reason: "ServiceUnavailable"}), end: failed, code: "ServiceUnavailable", attempts: 5, requests: 5},
		{answers: times(2, answer{Status: 502, Body: "<html>Bad Gateway</html>"}), attempts: 3},
		{answers: []answer{{GoAway: true}}, attempts: 1},
		{answers: []answer{{Cut: true}}},
	}
	for _, reason := range []string{"BadTopic", "MissingTopic", "TopicDisallowed"} {
		cases = append(cases, codeCase{answers: once(400, reason), end: failed, code: reason, attempts: 1})
	}
	for _, reason := range []string{"InvalidPushType", "BadPriority", "BadExpirationDate", "BadCollapseId", "BadMessageId", "PayloadEmpty", "DuplicateHeaders", "MissingDeviceToken"} {
		cases = append(cases, codeCase{answers: once(400, reason), end: failing, code: reason, requests: 1})
	}
	for _, reason := range []string{
		"BadCertificate", "BadCertificateEnvironment", "Forbidden", "InvalidProviderToken", "MissingProviderToken", "UnrelatedKeyIdInToken", "BadEnvironmentKeyIdInToken",
	} { // three pauses, and a last try
		cases = append(cases, codeCase{answers: times(9, answer{Status: 403, Reason: reason}), end: failed, code: reason, requests: 4})
	}
	w.runCodes(w.services.AppleBody(t, "ios"), `{"aps":{"alert":"hi"}}`, w.services.APNs, func(device string) (string, string) {
		return quoted(hexOf(device)), hexOf(device)
	}, cases)
}

func codesOfFCM(t *testing.T, w *world) {
	body := w.services.GoogleBody(t, "droid")
	invalidToken := `{"error":{"code":400,"status":"INVALID_ARGUMENT","message":"bad","details":[
		{"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[{"field":"message.token","description":"x"}]},
		{"@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":"INVALID_ARGUMENT"}]}}`
	w.runCodes(body, `{"n":3}`, w.services.FCM, func(device string) (string, string) { return quoted(device), device }, []codeCase{
		{attempts: 1, requests: 1},
		{answers: once(400, "INVALID_ARGUMENT"), end: failing, code: "INVALID_ARGUMENT", requests: 1},
		{answers: []answer{{Status: 400, Body: invalidToken}}, end: failing, code: "INVALID_ARGUMENT", dead: true},
		{answers: once(401, "THIRD_PARTY_AUTH_ERROR"), end: failed, code: "THIRD_PARTY_AUTH_ERROR"},
		{answers: once(401, ""), attempts: 1, requests: 2}, // a new token of access, and again
		{answers: times(99, answer{Status: 401}), end: failed, code: "UNAUTHENTICATED", requests: 8},
		{answers: once(403, "SENDER_ID_MISMATCH"), end: failed, code: "SENDER_ID_MISMATCH", attempts: 1},
		{answers: times(9, answer{Status: 403}), end: failed, code: "PERMISSION_DENIED", requests: 4},
		{answers: once(404, "UNREGISTERED"), end: failing, code: "UNREGISTERED", attempts: 1, requests: 1, dead: true},
		{answers: once(404, ""), end: failed, code: "NOT_FOUND"},
		{answers: once(429, "QUOTA_EXCEEDED"), attempts: 2},
		{answers: once(500, "INTERNAL"), attempts: 2},
		{answers: once(502, "UNAVAILABLE"), attempts: 2},
		{answers: once(503, "UNAVAILABLE"), attempts: 2},
		{answers: []answer{{Status: 504, Body: "<html>Gateway Timeout</html>"}}, attempts: 2},
		{answers: times(9, answer{Status: 503, Reason: "UNAVAILABLE"}), end: failed, code: "UNAVAILABLE", attempts: 5, requests: 5, words: "(Unavailable)"},
		{answers: once(400, "UNSPECIFIED_ERROR"), end: failing, code: "UNSPECIFIED_ERROR"},
		{answers: []answer{{Cut: true}}},
	})
}

func codesOfGCM(t *testing.T, w *world) {
	w.runCodes(w.services.LegacyBody("old"), `"hello"`, w.services.GCM, func(device string) (string, string) { return quoted(device), device }, []codeCase{
		{attempts: 1, requests: 1},
		{answers: once(0, "NotRegistered"), end: failing, code: "NotRegistered", dead: true},
		{answers: once(0, "InvalidRegistration"), end: failing, code: "InvalidRegistration", dead: true},
		{answers: once(0, "MismatchSenderId"), end: failed, code: "MismatchSenderId"},
		{answers: once(0, "MessageTooBig"), end: failing, code: "MessageTooBig"},
		{answers: once(0, "Unavailable"), attempts: 2},
		{answers: once(0, "InternalServerError"), attempts: 2},
		{answers: once(0, "DeviceMessageRateExceeded"), attempts: 2},
		{answers: once(429, ""), attempts: 2},
		{answers: once(503, ""), attempts: 2},
		{answers: once(401, ""), end: failed, code: "InvalidRegistration"},
		{answers: once(400, ""), end: failed, code: "UnexpectedAnswer"},
		{answers: times(9, answer{Status: 500}), end: failed, code: "Unavailable", attempts: 5, requests: 5},
		{answers: []answer{{Status: 200, Body: "no JSON"}}, attempts: 2},
		{answers: []answer{{Cut: true}}},
	})
}

func codesOfWNS(t *testing.T, w *world) {
	w.runCodes(w.services.WindowsBody("win"), `"hello"`, w.services.WNS, func(device string) (string, string) {
		return quoted(w.services.WNS.Channel(device)), device
	}, []codeCase{
		{attempts: 1, requests: 1},
		{answers: once(200, "dropped"), end: failing, code: "dropped", requests: 1},
		{answers: once(200, "channelthrottled"), attempts: 2},
		{answers: once(406, ""), attempts: 2},
		{answers: once(400, ""), end: failing, code: "400"},
		{answers: once(405, ""), end: failing, code: "405"},
		{answers: once(401, ""), attempts: 1, requests: 2}, // a new token of access, and again
		{answers: times(99, answer{Status: 401}), end: failed, code: "401", requests: 8},
		{answers: once(403, ""), end: failed, code: "403"},
		{answers: once(404, ""), end: failing, code: "404", dead: true},
		{answers: once(410, ""), end: failing, code: "410", dead: true},
		{answers: once(413, ""), end: failing, code: "413"},
		{answers: once(500, ""), attempts: 2},
		{answers: once(503, ""), attempts: 2},
		{answers: times(9, answer{Status: 503}), end: failed, code: "503", attempts: 5, requests: 5},
		{answers: []answer{{Cut: true}}},
	})
}

func codesOfWebPush(t *testing.T, w *world) {
	w.runCodes(w.services.WebPushBody("web"), `{"title":"hi"}`, w.services.WebPush, func(device string) (string, string) {
		return w.services.WebPush.Subscribe(device, ""), device
	}, []codeCase{
		{attempts: 1, requests: 1},
		{answers: once(200, "")},
		{answers: once(202, "")},
		{answers: once(400, ""), end: failing, code: "400"},
		{answers: once(401, ""), end: failing, code: "401"},
		{answers: once(403, ""), end: failing, code: "403"},
		{answers: once(404, ""), end: failing, code: "404", dead: true},
		{answers: once(410, ""), end: failing, code: "410", dead: true},
		{answers: once(413, ""), end: failing, code: "413"},
		{answers: once(429, ""), attempts: 2},
		{answers: once(500, ""), attempts: 2},
		{answers: once(503, ""), attempts: 2},
		{answers: times(9, answer{Status: 503}), end: failed, code: "503", attempts: 5, requests: 5},
		{answers: []answer{{Cut: true}}},
	})
	// Refused by several of a service, the notifier's key is what is wrong.
	w.notifier(map[string]any{"name": "wrong", "provider": "webpush", "subject": "https://ops.example.test"})
	for i := range 5 {
		name := fmt.Sprintf("wrong%d", i)
		w.device(name, "wrong", w.services.WebPush.Subscribe(name, ""))
		w.services.WebPush.On(name, times(9, answer{Status: http.StatusForbidden})...)
	}
	n := w.ended(w.notify("/devices;ql=name='wrong*'", `{"wrong":"x"}`, ""))
	if got := summary(n); got != "FINISHED 0 5 5" && got != "FAILED 0 5 5" {
		t.Errorf("ended %s", got)
	}
	levels := 0
	for i := range 5 {
		if w.holds(fmt.Sprintf("wrong%d", i), "wrong") {
			levels++
		}
	}
	if levels != 5 {
		t.Errorf("%d devices have kept their tokens", levels)
	}
}
