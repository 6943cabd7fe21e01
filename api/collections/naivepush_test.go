package collections_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
)

func nameOf(object []byte) string {
	var e struct{ Name string }
	if json.Unmarshal(object, &e) != nil {
		return "?"
	}
	return e.Name
}

// sorted are the different ones of some names, in order.
func sorted(list []string) string {
	list = slices.Clone(list)
	slices.Sort(list)
	return strings.Join(slices.Compact(list), " ")
}

// property is a property of a notification as it is stored.
func (r *rest) property(id, property string) []byte {
	r.Helper()
	var body struct {
		Entities []map[string]json.RawMessage
	}
	if err := json.Unmarshal([]byte(r.ok("GET", "/notifications/"+id, "").Body), &body); err != nil || len(body.Entities) != 1 {
		r.Fatal(err, len(body.Entities))
	}
	return body.Entities[0][property]
}

// audience is who there is, as a model that knows nothing of indexes: users and groups by
// name, each with what belongs to it.
type audience struct {
	devices map[string][]string // of a user; of "" those without one
	members map[string][]string // of a group
	size    map[string]int      // of a device
}

// of returns the devices of a target: the words that stand in its path.
func (a audience) of(group, user, device string, n int) (list []string) {
	users := []string{}
	switch {
	case group != "":
		for name, members := range a.members {
			if group == "*" || group == name {
				users = append(users, members...)
			}
		}
	case user != "":
		for name := range a.devices {
			if name != "" {
				users = append(users, name)
			}
		}
	default:
		for name := range a.devices {
			users = append(users, name)
		}
	}
	for _, name := range users {
		if user != "" && user != "*" && user != name {
			continue
		}
		for _, d := range a.devices[name] {
			if (device == "" || device == "*" || device == d) && (n < 0 || a.size[d] == n) {
				list = append(list, d)
			}
		}
	}
	return list
}

// TestTargetsOfRandomAudiences compares targets with the model, in pieces of random sizes,
// while devices that are not meant to be counted come and go.
func TestTargetsOfRandomAudiences(t *testing.T) {
	r := newRest(t)
	r.token = r.Admin
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	r.ok("POST", "/notifiers", `{"name":"fake","provider":"noop"}`)
	a := audience{devices: map[string][]string{}, members: map[string][]string{}, size: map[string]int{}}
	device := func(user string) {
		name := fmt.Sprintf("d%d", len(a.size))
		a.size[name] = rng.IntN(3)
		path := "/devices"
		if user != "" {
			path = "/users/" + user + "/devices"
		}
		r.ok("POST", path, fmt.Sprintf(`{"name":"%s","n":%d}`, name, a.size[name]))
		a.devices[user] = append(a.devices[user], name)
	}
	for range 3 {
		device("")
	}
	for u := range 5 {
		user := fmt.Sprintf("u%d", u)
		r.ok("POST", "/users", `{"username":"`+user+`"}`)
		a.devices[user] = nil
		for range rng.IntN(4) {
			device(user)
		}
	}
	for g := range 3 {
		group := fmt.Sprintf("g%d", g)
		r.ok("POST", "/groups", `{"path":"`+group+`"}`)
		a.members[group] = nil
		for u := range 5 {
			if rng.IntN(2) == 0 {
				user := fmt.Sprintf("u%d", u)
				r.ok("POST", "/groups/"+group+"/users/"+user, "")
				a.members[group] = append(a.members[group], user)
			}
		}
	}
	named := func(prefix string, n int) string {
		if k := rng.IntN(n + 2); k < n {
			return fmt.Sprint(prefix, k)
		}
		return "*"
	}
	for range 60 {
		path, group, user, dev, n := "", "", "", "", -1
		kind := rng.IntN(5)
		if kind >= 2 {
			group = named("g", 3)
			path = "/groups/" + group
		}
		if kind == 1 || kind >= 3 {
			user = named("u", 5)
			path += "/users/" + user
		}
		if kind == 0 || kind == 4 {
			dev = "*"
			if n = rng.IntN(3); rng.IntN(2) == 0 {
				path, n = path+"/devices/*", -1
			} else {
				path = fmt.Sprintf("%s/devices;ql=n=%d", path, n)
			}
		}
		if group != "" && group != "*" && user != "" && user != "*" && !slices.Contains(a.members[group], user) {
			r.fails("POST", path+"/notifications", `{"payloads":{"fake":"x"}}`, 404, "service_resource_not_found")
			continue
		}
		id := uuidOf(t, r.ok("POST", path+"/notifications", `{"payloads":{"fake":"x"}}`))
		if got, want := sorted(r.recipients(id, 1+rng.IntN(6))), sorted(a.of(group, user, dev, n)); got != want {
			t.Errorf("seed %d: %s: %s, want %s", seed, path, got, want)
		}
	}
}

// TestTargetsWhileTheyChange: who is a target all the time is reached, whatever comes and
// goes between two pieces of a walk.
func TestTargetsWhileTheyChange(t *testing.T) {
	r := newRest(t)
	r.token = r.Admin
	r.ok("POST", "/notifiers", `{"name":"fake","provider":"noop"}`)
	want := ""
	for u := range 4 {
		user := fmt.Sprintf("u%d", u)
		r.ok("POST", "/users", `{"username":"`+user+`"}`)
		for d := range 2 {
			r.ok("POST", "/users/"+user+"/devices", fmt.Sprintf(`{"name":"%s%d"}`, user, d))
			want += fmt.Sprintf(" %s%d", user, d)
		}
		r.ok("POST", "/users", `{"username":"gone`+user+`"}`)
		r.ok("POST", "/users/gone"+user+"/devices", `{"name":"gone`+user+`"}`)
	}
	target := r.property(uuidOf(t, r.ok("POST", "/users/*/notifications", `{"payloads":{"fake":"x"}}`)), "pathQuery")
	var position []byte
	var got []string
	for step := 0; ; step++ {
		var next []byte
		r.viewed(func(v *storage.View, app entity.AppID) error {
			devices, rest, err := r.Data.Devices(r.Context(), v, app, target, nil, false, position, 1)
			for i := range devices {
				got = append(got, nameOf(devices[i].JSON))
			}
			next = rest
			return err
		})
		if position = next; next == nil {
			break
		}
		if step < 4 { // the user that the walk is at may be among them
			r.ok("DELETE", fmt.Sprintf("/users/goneu%d", 3-step), "")
		}
		r.ok("POST", "/users", fmt.Sprintf(`{"username":"new%d"}`, step))
	}
	got = slices.DeleteFunc(got, func(name string) bool { return strings.HasPrefix(name, "gone") })
	if sorted(got) != strings.TrimSpace(want) {
		t.Errorf("%v, want %s", got, want)
	}
	if _, _, err := r.damaged(target); err == nil {
		t.Error("a damaged position is taken")
	}
}

func (r *rest) damaged(target []byte) (devices []entity.Entity, next []byte, err error) {
	r.viewed(func(v *storage.View, app entity.AppID) error {
		devices, next, err = r.Data.Devices(r.Context(), v, app, target, nil, false, []byte{1, 2, 3}, 1)
		return nil
	})
	return devices, next, err
}
