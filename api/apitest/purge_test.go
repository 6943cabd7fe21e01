package apitest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/trellisdb/trellis/api/apitest"
	"github.com/trellisdb/trellis/raftfsm"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/keys"
)

// TestDeletedApplicationLeavesNothing fills an application, deletes it and looks
// through its partition.
func TestDeletedApplicationLeavesNothing(t *testing.T) {
	s, err := apitest.OpenWith(t.TempDir(), apitest.Options{Purge: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	do := func(method, target, body string) apitest.Answer {
		t.Helper()
		a, err := s.Do(method, target, s.Admin, body)
		if err != nil || a.Status != 200 {
			t.Fatalf("%s %s: %d %s %v", method, target, a.Status, a.Body, err)
		}
		return a
	}
	fill := func(app string, entities int) {
		for from := 0; from < entities; from += 100 {
			var items []string
			for i := range 100 {
				items = append(items, fmt.Sprintf(`{"name":"n%d","price":%d}`, from+i, i))
			}
			do("POST", "/acme/"+app+"/items", "["+strings.Join(items, ",")+"]")
		}
		do("POST", "/acme/"+app+"/users", `{"username":"ada","email":"ada@example.test","password":"ada-secret"}`)
		do("POST", "/acme/"+app+"/token", `{"grant_type":"password","username":"ada","password":"ada-secret"}`)
	}
	do("POST", "/management/orgs/acme/apps", `{"name":"shop"}`)
	fill("shop", 2000)
	fill("sandbox", 100)
	apps := numbers(t, s)
	shop, sandbox := apps["acme/shop"], apps["acme/sandbox"]
	if n := keysOf(t, s, shop); n < 4*2000/2 {
		t.Fatalf("the application has %d keys only", n)
	}
	neighbour := keysOf(t, s, sandbox)

	do("DELETE", "/management/orgs/acme/apps/shop?confirm_application_identifier=shop", "")
	deadline := time.Now().Add(20 * time.Second)
	for keysOf(t, s, shop) > 0 || numbers(t, s)["acme/shop"] != 0 {
		if time.Now().After(deadline) {
			t.Fatalf("%d keys are left", keysOf(t, s, shop))
		}
		time.Sleep(5 * time.Millisecond)
	}
	if n := keysOf(t, s, sandbox); n != neighbour {
		t.Errorf("the neighbour has %d keys, had %d", n, neighbour)
	}
	for _, app := range []entity.AppID{entity.Management, shop, sandbox} {
		v := view(t, s, app)
		report, err := raftfsm.Check(context.Background(), v)
		if err := errors.Join(err, v.Close()); err != nil {
			t.Fatal(err)
		}
		for _, problem := range report.Problems {
			t.Error(problem)
		}
	}
	if a := do("GET", "/management/orgs/acme/apps?deleted=true", ""); strings.Contains(a.Body, "shop") {
		t.Errorf("it is still among the deleted: %s", a.Body)
	}
	// The name is free, twice, and the number is not given again.
	for range 2 {
		do("POST", "/management/orgs/acme/apps", `{"name":"shop"}`)
		if again := numbers(t, s)["acme/shop"]; again <= shop {
			t.Errorf("the number %d was given again after %d", again, shop)
		}
		fill("shop", 100)
		do("DELETE", "/management/orgs/acme/apps/shop?confirm_application_identifier=shop", "")
		for len(numbers(t, s)) > 1 {
			if time.Now().After(deadline) {
				t.Fatal("not purged again")
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
}

func view(t *testing.T, s *apitest.Server, app entity.AppID) *storage.View {
	t.Helper()
	v, err := s.Node.View(context.Background(), app)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// numbers returns the applications that have a record, live or deleted.
func numbers(t *testing.T, s *apitest.Server) map[string]entity.AppID {
	t.Helper()
	v := view(t, s, entity.Management)
	defer v.Close()
	found := map[string]entity.AppID{}
	for _, name := range []string{"applications", "deletedapplications"} {
		c, ok, err := storage.ReadCollection(v, entity.Management, name)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			continue
		}
		it, err := v.Scan(keys.EntityRange(entity.System, entity.Management, c.ID))
		if err != nil {
			t.Fatal(err)
		}
		for ok := it.First(); ok; ok = it.Next() {
			e, err := entity.DecodeRecord(it.Value())
			if err != nil {
				t.Fatal(err)
			}
			_, rest, _ := strings.Cut(string(e.JSON), `"name":"`)
			name, rest, _ := strings.Cut(rest, `"`)
			_, rest, _ = strings.Cut(rest, `"number":`)
			var number entity.AppID
			if _, err := fmt.Sscanf(rest, "%d", &number); err != nil {
				t.Fatalf("record %s: %v", e.JSON, err)
			}
			found[name] = number
		}
		it.Close()
	}
	return found
}

// keysOf counts the keys of an application.
func keysOf(t *testing.T, s *apitest.Server, app entity.AppID) (n int) {
	t.Helper()
	v := view(t, s, app)
	defer v.Close()
	it, err := v.Scan(keys.AppRange(v.Partition(), app))
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		n++
	}
	return n
}
