package tasks

import (
	"bytes"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/seal"
)

// TestSecretsAreSealedAnew adds a key and looks at what was sealed with the old one.
func TestSecretsAreSealedAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, appPartition)
		older, err := seal.NewRing([]byte("older"))
		if err != nil {
			t.Fatal(err)
		}
		newer, err := seal.NewRing([]byte("newer"), []byte("older"))
		if err != nil {
			t.Fatal(err)
		}
		only, err := seal.NewRing([]byte("newer"))
		if err != nil {
			t.Fatal(err)
		}
		const owners = 300
		ownerOf := func(i int) entity.ID { return entity.ID{0: 1, 14: byte(i >> 8), 15: byte(i)} }
		for i := range owners {
			id := ownerOf(i)
			pin := older.Seal([]byte(fmt.Sprint("pin", i)), [seal.NonceSize]byte{byte(i), byte(i >> 8)}, string(id[:]))
			w.do(appPartition, someApp, command.CreateEntities{
				Rules: command.Rules{Collection: "users", Type: "user"},
				Items: []command.NewEntity{{ID: id, Created: 1, JSON: []byte(`{}`), Credentials: []command.Credential{
					{Kind: entity.CredentialPin, Value: pin}, {Kind: entity.CredentialPassword, Value: []byte("$2a$10$hash")},
					{Kind: entity.CredentialProvider, Value: pin},
				}}},
			})
		}
		anew := func(owner entity.ID, _ byte, sealed []byte) ([]byte, bool, error) {
			plain, stale, err := newer.Open(sealed, string(owner[:]))
			if err != nil || !stale {
				return nil, false, err
			}
			return newer.Seal(plain, [seal.NonceSize]byte(bytes.Repeat(owner[15:], seal.NonceSize)), string(owner[:])), true, nil
		}
		_, stop := w.run(nil, Reseal(anew))
		time.Sleep(30 * time.Minute)
		synctest.Wait()
		stop()
		v := w.Machines.View(appPartition)
		for i := range owners {
			id := ownerOf(i)
			for _, kind := range []byte{entity.CredentialPin, entity.CredentialProvider} {
				pin, _, err := storage.ReadCredential(v, someApp, id, kind)
				if err != nil {
					t.Fatal(err)
				}
				if plain, stale, err := only.Open(pin.Value, string(id[:])); err != nil || stale || string(plain) != fmt.Sprint("pin", i) {
					t.Fatalf("owner %d, kind %d: %q, stale %v, %v", i, kind, plain, stale, err)
				}
			}
			password, _, err := storage.ReadCredential(v, someApp, id, entity.CredentialPassword)
			if err != nil || string(password.Value) != "$2a$10$hash" {
				t.Fatalf("owner %d: the hash became %q, %v", i, password.Value, err)
			}
		}
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
		w.Close()
	})
}
