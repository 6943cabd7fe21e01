package entity

import (
	"testing"

	"github.com/trellisdb/trellis/storage/fault"
)

func TestNotificationState(t *testing.T) {
	const now = 1000
	for _, tc := range []struct{ properties, want string }{
		{`{}`, "CREATED"},
		{`{"deliver":2000}`, "SCHEDULED"},
		{`{"deliver":500}`, "SCHEDULED"},
		{`{"queued":900}`, "SCHEDULED"},
		{`{"deliver":2000,"expire":1000}`, "EXPIRED"},
		{`{"deliver":2000,"expire":1001}`, "SCHEDULED"},
		{`{"expire":1}`, "EXPIRED"},
		{`{"expire":1001}`, "CREATED"},
		{`{"started":900,"expire":1}`, "STARTED"},
		{`{"started":900,"deliver":800,"queued":900}`, "STARTED"},
		{`{"started":900,"finished":950,"expire":1}`, "FINISHED"},
		{`{"started":900,"finished":950,"canceled":true}`, "CANCELED"},
		{`{"canceled":false,"finished":950}`, "FINISHED"},
		{`{"canceled":true,"errorMessage":"no"}`, "FAILED"},
		{`{"errorMessage":null,"finished":0}`, "CREATED"},
		{`{"expire":1e300,"deliver":-5}`, "CREATED"},
	} {
		f, err := ReadNotificationFacts([]byte(tc.properties))
		if err != nil {
			t.Errorf("%s: %v", tc.properties, err)
		} else if got := NotificationState(f, now); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.properties, got, tc.want)
		}
	}
	for _, bad := range []string{``, `[]`, `{"started":"x"}`} {
		if _, err := ReadNotificationFacts([]byte(bad)); !fault.Is(err, fault.Corrupt) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestPushTask(t *testing.T) {
	a, b := NewID(), NewID()
	const known = "41e2d0fb-475a-1314-52f1-2c6ef9ea2333" // tasks are found by it after an upgrade too
	if got := PushTask(16, ID{15: 1}).String(); got != known {
		t.Errorf("the id of a task is %s, was %s", got, known)
	}
	if PushTask(16, a) == PushTask(17, a) || PushTask(16, a) == PushTask(16, b) || PushTask(16, a) == a {
		t.Error("ids of tasks")
	}
}
