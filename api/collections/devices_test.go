package collections_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/trellisdb/trellis/api/apitest"
	"github.com/trellisdb/trellis/api/collections"
)

const vendorID = "2f9c0a4e-8b0c-11ee-b9d1-0242ac120002"

func TestDevices(t *testing.T) {
	r := newRest(t)
	r.token = r.Admin
	// As the SDKs register: PUT by a UUID nobody knows, then POST to the user.
	a := r.ok("PUT", "/device/"+vendorID, `{"type":"device","uuid":"`+vendorID+`","ios.notifier.id":"ab12cd34","deviceModel":"Phone 9"}`)
	if a.Entity()["uuid"] != vendorID || props(a.Entity()) != `{"deviceModel":"Phone 9","ios.notifier.id":"ab12cd34"}` || a.Fields["path"] != "/devices" {
		t.Fatalf("put %s", a.Body)
	}
	if got, want := fmt.Sprint(a.Entity()["metadata"]), fmt.Sprintf("map[collections:map[receipts:/devices/%[1]s/receipts users:/devices/%[1]s/users] path:/devices/%[1]s]", vendorID); got != want {
		t.Errorf("metadata %s", got)
	}
	// The token is a literal property, whatever its name looks like.
	for _, ql := range []string{"ios.notifier.id = 'ab12cd34'", "select * where ios.notifier.id='AB12cd34'", "IOS.Notifier.id = 'ab12*'", "not ios.notifier.id = 'x'"} {
		if got := r.query("/devices", ql).Entity()["uuid"]; got != vendorID {
			t.Errorf("%s: %v", ql, got)
		}
	}
	a = r.ok("PUT", "/devices/"+vendorID, `{"IOS.notifier.id":"new","badge":"3"}`)
	r.wantProps(a.Entity(), `{"badge":3,"deviceModel":"Phone 9","ios.notifier.id":"new"}`)
	a = r.ok("PUT", "/devices/"+vendorID, `{"ios.notifier.id":"","x":{"notifier":{"id":"nested"}}}`)
	r.wantProps(a.Entity(), `{"badge":3,"deviceModel":"Phone 9","x":{"notifier":{"id":"nested"}}}`)
	// By name; deleted and registered again.
	if a := r.ok("PUT", "/devices/tablet", `{"droid.notifier.id":"t"}`); a.Entity()["name"] != "tablet" {
		t.Errorf("put by name: %s", a.Body)
	}
	r.ok("PUT", "/devices/TABLET", `{"droid.notifier.id":"u"}`)
	r.fails("POST", "/devices", `{"name":"tablet"}`, 400, "duplicate_unique_property_exists")
	r.ok("DELETE", "/devices/"+vendorID, "")
	r.ok("PUT", "/devices/"+vendorID, `{"ios.notifier.id":"again"}`)
	if n := len(r.ok("GET", "/devices", "").Entities()); n != 2 {
		t.Errorf("%d devices", n)
	}
}

// TestGuestsRegisterDevices: they may register and overwrite, and nothing else.
func TestGuestsRegisterDevices(t *testing.T) {
	guest, _ := closed(t)
	guest.ok("POST", "/devices", `{"name":"g"}`)
	guest.ok("PUT", "/devices/"+vendorID, `{"name":"h"}`)
	guest.fails("GET", "/devices", "", 401, "unauthorized")
}

func TestDeviceHasOneUser(t *testing.T) {
	r := newRest(t)
	r.token = r.Admin
	for _, name := range []string{"ana", "bo"} {
		r.ok("POST", "/users", `{"username":"`+name+`"}`)
	}
	r.ok("POST", "/groups", `{"path":"team/red"}`)
	r.ok("POST", "/groups/team/red/users/ana", "")
	of := func(user string) string { return names(r.ok("GET", "/users/"+user+"/devices", "")) }
	check := func(ana, bo string) {
		t.Helper()
		if of("ana") != ana || of("bo") != bo {
			t.Errorf("ana has %q, bo has %q; want %q, %q", of("ana"), of("bo"), ana, bo)
		}
	}
	phone := uuidOf(t, r.ok("POST", "/users/ana/devices", `{"name":"phone"}`))
	r.ok("PUT", "/devices/"+vendorID, `{"name":"tablet"}`)
	check("phone", "")
	a := r.ok("POST", "/users/ana/devices/"+vendorID, "")
	if names(a) != "tablet" {
		t.Errorf("link: %s", a.Body)
	}
	check("tablet phone", "")
	// Whoever links it last has it: by POST and by PUT, by name, from either side.
	r.ok("POST", "/users/bo/devices/tablet", "")
	check("phone", "tablet")
	a = r.ok("PUT", "/users/ana/devices/"+vendorID, `{"deviceModel":"Tab 1"}`)
	r.wantProps(a.Entity(), `{"deviceModel":"Tab 1","name":"tablet"}`)
	check("tablet phone", "")
	r.ok("POST", "/users/ana/devices/tablet", "")
	check("tablet phone", "")
	r.ok("POST", "/devices/phone/users/bo", "")
	check("tablet", "phone")
	if got := r.ok("GET", "/devices/phone/users", ""); field(got, "username") != "bo" {
		t.Errorf("users of a device: %s", got.Body)
	}
	r.ok("PUT", "/users/bo/devices/tablet", "")
	check("", "tablet phone")
	// PUT creates what nobody knows, and links it.
	const fresh = "3f9c0a4e-8b0c-11ee-b9d1-0242ac120002"
	if a := r.ok("PUT", "/users/ana/devices/"+fresh, `{"name":"watch"}`); a.Entity()["uuid"] != fresh {
		t.Errorf("put: %s", a.Body)
	}
	r.ok("PUT", "/users/ana/devices/glasses", `{"x":1}`)
	check("glasses watch", "tablet phone")
	r.fails("POST", "/users/ana/devices/nothing", "", 404, "service_resource_not_found")

	r.ok("GET", "/users/ana/devices/watch", "")
	r.fails("GET", "/users/ana/devices/"+phone, "", 404, "service_resource_not_found")
	r.fails("DELETE", "/users/ana/devices/"+phone, "", 404, "service_resource_not_found")
	if got := names(r.ok("GET", "/groups/team/red/users/ana/devices", "")); got != "glasses watch" {
		t.Errorf("of a group: %s", got)
	}
	r.ok("DELETE", "/users/ana/devices/watch", "")
	r.ok("GET", "/devices/watch", "")
	check("glasses", "tablet phone")

	// Two who link it at a time: one has it.
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			a, err := r.Do("POST", r.App+"/users/"+[]string{"ana", "bo"}[i%2]+"/devices/watch", r.token, "")
			if err != nil || a.Status != 200 {
				t.Errorf("%v %s", err, a.Body)
			}
		})
	}
	wg.Wait()
	if n := len(r.ok("GET", "/devices/watch/users", "").Entities()); n != 1 {
		t.Errorf("%d users of one device", n)
	}
}

func TestTokens(t *testing.T) {
	r := newRest(t)
	r.token = r.Admin
	r.ok("POST", "/notifiers", `{"name":"web","provider":"webpush"}`)
	fake := uuidOf(t, r.ok("POST", "/notifiers", `{"name":"fake","provider":"noop"}`))
	for _, body := range []string{`{"name":"d","web.notifier.id":"text"}`, `{"name":"d","WEB.notifier.id":{"keys":{}}}`} {
		r.fails("POST", "/devices", body, 400, "illegal_argument")
		r.fails("PUT", "/devices/"+vendorID, body, 400, "illegal_argument")
		r.fails("PUT", "/devices/d", body, 400, "illegal_argument")
	}
	r.ok("POST", "/devices", `{"name":"d","web.notifier.id":{"endpoint":"https://push.example.test/1","keys":{"p256dh":"x","auth":"y"}},"fake.notifier.id":"","unknown.notifier.id":"kept"}`)
	r.fails("PUT", "/devices?ql=", `{"web.notifier.id":"text"}`, 400, "illegal_argument")
	if got := names(r.ok("GET", "/devices/d/notifiers", "")); got != "web" {
		t.Errorf("notifiers %s", got)
	}
	r.ok("PUT", "/devices/d", `{"`+fake+`.notifier.id":"t"}`)
	for _, path := range []string{"/devices/d/notifiers", "/device/d/notifier", "/devices/d/notifiers?limit=1000"} {
		if got := names(r.ok("GET", path, "")); got != "fake web" {
			t.Errorf("%s: %s", path, got)
		}
	}
	if got := names(r.ok("GET", "/devices/d/notifiers?ql=provider='noop'", "")); got != "fake" {
		t.Errorf("by query: %s", got)
	}
	r.fails("GET", "/devices/nothing/notifiers", "", 404, "entity_not_found")
	r.fails("POST", "/devices/d/notifiers", `{"provider":"noop"}`, 405, "unsupported_service_operation")
	// A token on two devices.
	r.ok("POST", "/devices", `{"name":"e","fake.notifier.id":"same"}`)
	r.ok("POST", "/devices", `{"name":"f","fake.notifier.id":"same"}`)
	if got := names(r.query("/devices", "fake.notifier.id='same'")); got != "f e" {
		t.Errorf("both: %s", got)
	}
}

// TestUniqueTokens: with the option, a token goes where it came last.
func TestUniqueTokens(t *testing.T) {
	t.Parallel()
	s, err := apitest.OpenWith(t.TempDir(), apitest.Options{Push: collections.Pushing{UniqueTokens: true}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	r := &rest{T: t, Server: s, token: s.Admin}
	r.ok("POST", "/devices", `[{"name":"a","x.notifier.id":"T*k"},{"name":"b","x.notifier.id":"t*k"},{"name":"c","y.notifier.id":"T*k"},{"name":"d","x.notifier.id":"Took"}]`)
	r.ok("POST", "/users", `{"username":"ana"}`)
	r.ok("PUT", "/users/ana/devices/e", `{"X.notifier.id":"T*k"}`)
	var list []string
	for _, e := range r.ok("GET", "/devices", "").Entities() {
		list = append(list, props(e))
	}
	want := `{"X.notifier.id":"T*k","name":"e"} {"name":"d","x.notifier.id":"Took"} {"name":"c","y.notifier.id":"T*k"} {"name":"b","x.notifier.id":"t*k"} {"name":"a"}`
	if got := strings.Join(list, " "); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}
