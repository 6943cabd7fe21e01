package collections_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
)

// TestReadsOfOwnedDevices: what tells of devices is found by their owners as well.
func TestReadsOfOwnedDevices(t *testing.T) {
	r := newPush(t)
	device := func(name string) string { return uuidOf(t, r.ok("GET", "/devices/"+name, "")) }
	n := uuidOf(t, r.ok("POST", "/users/ana/devices/ana0/notifications", `{"payloads":{"fake":"x"},"name":"n"}`))
	other := uuidOf(t, r.ok("POST", "/users/bo/notifications", `{"payloads":{"fake":"x"},"name":"o"}`))
	r.receipt(n, device("ana0"), `,"name":"x"`)
	r.receipt(n, device("ana1"), `,"name":"y","sent":5`)
	r.receipt(other, device("bo0"), `,"name":"z"`)
	for _, tc := range []struct{ path, want string }{
		{"/users/ana/devices/ana0/receipts", "x"},
		{"/user/ana/device/" + device("ana1") + "/receipt", "y"},
		{"/users/ana/devices/*/receipts", "y x"},
		{"/users/ana/devices/receipts", "y x"},
		{"/users/ana/devices;ql=n=1/receipts", "y"},
		{"/users/ana/devices/*/receipts?ql=sent=5", "y"},
		{"/users/*/devices/*/receipts", "z y x"},
		{"/users/cy/devices/*/receipts", ""},
		{"/groups/team/red/users/ana/devices/ana0/receipts", "x"},
		{"/groups/team/red/users/*/devices/*/receipts?limit=2", "z y"},
		{"/users/ana/devices/ana1/notifications", "n"}, // it has a receipt of it
		{"/users/bo/devices/bo0/notifications", "o"},
		{"/users/bo/devices/bo1/notifications", ""},
		{"/users/ana/devices/ana0/notifiers", "fake"},
	} {
		a := r.ok("GET", tc.path, "")
		var list []string
		for _, e := range a.Entities() {
			list = append(list, fmt.Sprint(e["name"]))
		}
		if got := strings.Join(list, " "); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.path, got, tc.want)
		}
	}
	if got, want := r.ok("GET", "/users/ana/devices/ana0/receipts", "").Fields["path"], "/users/"+uuidOf(t, r.ok("GET", "/users/ana", ""))+"/devices/"+device("ana0")+"/receipts"; got != want {
		t.Errorf("path %v, want %s", got, want)
	}
	for _, path := range []string{"/users/ana/devices/bo0/receipts", "/users/nobody/devices/ana0/receipts", "/users/ana/devices/nothing/notifications"} {
		if a := r.do("GET", path, ""); a.Status != 404 {
			t.Errorf("%s: %d %s", path, a.Status, a.Body)
		}
	}
	r.fails("DELETE", "/users/ana/devices/ana0/receipts", "", 405, "unsupported_service_operation")
	r.fails("GET", "/users/ana/devices/*/notifiers", "", 405, "unsupported_service_operation")
}

// TestReceiptsOfOwnDevicesNeedTheirPermission: who may read what is a user's, may not for
// that reason read receipts.
func TestReceiptsOfOwnDevicesNeedTheirPermission(t *testing.T) {
	guest, admin := closed(t)
	admin.ok("POST", "/users", `{"username":"ana"}`)
	admin.ok("POST", "/users/ana/devices", `{"name":"phone"}`)
	grant := func(permission string) {
		t.Helper()
		admin.ok("POST", "/roles/guest/permissions", `{"permission":"`+permission+`"}`)
	}
	one, all := "/users/ana/devices/phone/receipts", "/users/ana/devices/*/receipts"
	grant("get:/users/**")
	guest.fails("GET", one, "", 401, "unauthorized")
	guest.fails("GET", all, "", 401, "unauthorized")
	grant("get:/devices/phone/receipts")
	guest.ok("GET", one, "")
	guest.fails("GET", all, "", 401, "unauthorized")
	grant("get:/devices/*/receipts")
	guest.ok("GET", all, "")
}

// TestRegistrations: it is noted when a device came with a token, and nobody else says it.
func TestRegistrations(t *testing.T) {
	r := newRest(t)
	r.token = r.Admin
	registered := func(device, notifier string) any {
		t.Helper()
		return r.ok("GET", "/devices/"+device, "").Entity()[notifier+".notifier.registration"]
	}
	at := func(device, notifier string) int64 {
		t.Helper()
		note, _ := registered(device, notifier).(map[string]any)
		return number(note["at"])
	}
	began := time.Now().UnixMilli()
	r.ok("PUT", "/devices/d", `{"ios.notifier.id":"a","IOS.notifier.registration":{"at":7},"x.notifier.registration":{"at":7}}`)
	first := at("d", "ios")
	if first < began || registered("d", "x") != nil {
		t.Errorf("registered at %d, not before %d; %v", first, began, registered("d", "x"))
	}
	r.ok("PUT", "/devices/d", `{"place":"elsewhere","ios.notifier.registration":null}`)
	if again := at("d", "ios"); again != first {
		t.Errorf("a change of something else: %d, want %d", again, first)
	}
	for time.Now().UnixMilli() <= first { // the next millisecond
	}
	r.ok("PUT", "/devices/d", `{"ios.notifier.id":"a"}`)
	if again := at("d", "ios"); again <= first {
		t.Errorf("the same token once more: %d, want later than %d", again, first)
	}
	r.fails("PUT", "/devices/d", `{"later.notifier.id":"`+strings.Repeat("x", 16<<10)+`"}`, 400, "illegal_argument")
	r.ok("PUT", "/devices/d", `{"ios.notifier.id":""}`)
	if note := registered("d", "ios"); note != nil {
		t.Errorf("registration that has ended: %v", note)
	}
}

// TestHoldersOfSubscriptions finds a push subscription in all its spellings.
func TestHoldersOfSubscriptions(t *testing.T) {
	r := newRest(t)
	r.token = r.Admin
	const endpoint = "https://push.example.test/v1/Abc"
	for name, value := range map[string]string{
		"object":  `{"endpoint":"` + endpoint + `","keys":{"p256dh":"x","auth":"y"}}`,
		"order":   `{"keys":{"auth":"y","p256dh":"x"},"expirationTime":null,"endpoint":"` + endpoint + `"}`,
		"text":    fmt.Sprintf("%q", `{"endpoint":"`+endpoint+`","keys":{}}`),
		"spaced":  fmt.Sprintf("%q", " \n{ \"keys\" : {} ,\n\"endpoint\" : \""+endpoint+"\" } "),
		"escaped": fmt.Sprintf("%q", `{"endpoint":"https:\/\/push.example.test\/v1\u002fAbc"}`),
		"case":    fmt.Sprintf("%q", `{"ENDPOINT":"`+endpoint+`"}`),
		"plain":   fmt.Sprintf("%q", endpoint),
		"other":   fmt.Sprintf("%q", `{"endpoint":"`+strings.ToLower(endpoint)+`"}`),
		"another": `{"endpoint":"` + endpoint + `/x"}`,
		"broken":  fmt.Sprintf("%q", `{"endpoint":"`+endpoint),
	} {
		r.ok("PUT", "/devices/"+name, `{"web.notifier.id":`+value+`}`)
	}
	var list []string
	r.viewed(func(v *storage.View, app entity.AppID) error {
		found, err := r.Data.Holders(r.Context(), v, app, "WEB.notifier.id", endpoint, 100)
		for i := range found {
			list = append(list, nameOf(found[i].JSON))
		}
		return err
	})
	if got, want := sorted(list), "case escaped object order plain spaced text"; got != want {
		t.Errorf("held by %s, want %s", got, want)
	}
}
