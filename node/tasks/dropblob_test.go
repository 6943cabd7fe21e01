package tasks

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
)

// bucket is an object store that may be down.
type bucket struct {
	mu      sync.Mutex
	objects map[string]bool
	down    bool
}

func (b *bucket) Delete(_ context.Context, key string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.down {
		return errors.New("down")
	}
	delete(b.objects, key)
	return nil
}

// DeleteAll deletes one object at a time.
func (b *bucket) DeleteAll(_ context.Context, prefix string) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for key := range b.objects {
		if strings.HasPrefix(key, prefix) {
			delete(b.objects, key)
			return false, nil
		}
	}
	return true, nil
}

func (b *bucket) set(down bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.down = down
}

func (b *bucket) keys() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Sorted(maps.Keys(b.objects))
}

func (w *world) blob(id entity.ID) (entity.BlobState, bool) {
	w.t.Helper()
	v := w.Machines.View(appPartition)
	defer v.Close()
	b, ok, err := storage.ReadBlob(v, someApp, id)
	if err != nil {
		w.t.Fatal(err)
	}
	return b.State, ok
}

// TestUnattachedDataGoes: data that nobody attached in its time is removed, and not before;
// what was attached stays. An object is deleted only once nothing can be made of it any
// more, and what of it is known goes after it.
func TestUnattachedDataGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, appPartition)
		store := &bucket{objects: map[string]bool{"o/lost": true, "o/kept": true}, down: true}
		_, stop := w.run(nil, DropBlob(store))
		expires := time.Now().Add(time.Hour).UnixMilli()
		ids := map[string]entity.ID{}
		for _, name := range []string{"lost", "kept", "object lost", "object kept"} {
			ids[name] = entity.NewID()
			op := command.BeginBlob{Blob: ids[name], Size: 5, Chunk: 10, Expires: expires}
			if object, is := strings.CutPrefix(name, "object "); is {
				op.Object = "o/" + object
			}
			w.do(appPartition, someApp, op)
			if op.Object == "" {
				w.do(appPartition, someApp, command.PutChunk{Blob: op.Blob, Data: []byte("bytes")})
			}
			if strings.HasSuffix(name, "kept") {
				w.do(appPartition, someApp, command.AttachBlob{Blob: op.Blob, Change: command.UpdateEntity{
					Rules: command.Rules{Collection: "items"}, Create: &command.NewEntity{ID: entity.NewID(), JSON: []byte("{}")}}})
			}
		}
		time.Sleep(time.Hour - time.Minute)
		synctest.Wait()
		if _, there := w.blob(ids["lost"]); !there {
			t.Error("removed before its time")
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if _, there := w.blob(ids["lost"]); there {
			t.Error("data that nobody attached is still there")
		}
		if state, there := w.blob(ids["object lost"]); !there || state != entity.BlobDoomed {
			t.Errorf("an object of a store that is down: %v %v", state, there)
		}
		store.set(false)
		time.Sleep(time.Hour)
		synctest.Wait()
		if _, there := w.blob(ids["object lost"]); there || !slices.Equal(store.keys(), []string{"o/kept"}) {
			t.Errorf("objects %v", store.keys())
		}
		for _, name := range []string{"kept", "object kept"} {
			if state, there := w.blob(ids[name]); !there || state != entity.BlobAttached {
				t.Errorf("%s: %v %v", name, state, there)
			}
		}
		if list := w.tasks(appPartition, entity.TaskReady); len(list) != 0 {
			t.Errorf("tasks are left: %+v", list)
		}
		stop()
		w.Close()
	})
}

// TestObjectsOfAnApplicationArePurged: they go some time after it, and those of its
// neighbours stay.
func TestObjectsOfAnApplicationArePurged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, entity.System, appPartition)
		organization, app := entity.NewID(), entity.NewID()
		w.do(entity.System, entity.Management, command.CreateOrganization{
			Name: "acme", Organization: command.NewEntity{ID: organization, JSON: []byte(`{"name":"acme"}`)},
			Owner: &command.NewEntity{ID: entity.NewID(), JSON: []byte(`{"username":"ada","email":"a@b.cd"}`)},
		})
		w.do(entity.System, entity.Management, command.CreateApplication{Organization: organization,
			Application: command.NewApplication{ID: app, Name: "shop", Partition: appPartition, Secret: "s"}})
		store := &bucket{objects: map[string]bool{app.String() + "/1": true, app.String() + "/2": true, "other/1": true}}
		_, stop := w.run(nil, PurgeApplication(store))
		w.do(entity.System, entity.Management, command.DeleteApplication{Organization: organization, Application: app, PurgeAt: time.Now().UnixMilli()})
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(store.keys()) != 3 {
			t.Errorf("deleted while uploads may be under way: %v", store.keys())
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if !slices.Equal(store.keys(), []string{"other/1"}) || len(w.tasks(entity.System, entity.TaskReady)) != 0 {
			t.Errorf("%v, %v", store.keys(), w.tasks(entity.System, entity.TaskReady))
		}
		stop()
		w.Close()
	})
}
