package auth

import (
	"strings"
	"testing"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

func TestMailToken(t *testing.T) {
	made, text := NewMailToken(key, 4711, now, [TokenEntropy]byte{1, 2, 3, 21: 7})
	if len(text) != MailTokenLength || !strings.HasPrefix(text, "ZW0t") || !IsMailToken(text) {
		t.Errorf("text %q", text)
	}
	if ms, ok := made.ID.Time(); !ok || ms != now {
		t.Errorf("the id carries the time %d, %v", ms, ok)
	}
	if got, err := ParseMailToken(key, text); err != nil || got != made || got.App != 4711 {
		t.Errorf("parsed %+v, %v, want %+v", got, err, made)
	}
	_, access := NewToken(key, 1, now, now+1000, [TokenEntropy]byte{})
	bad := []string{"", access, access[:MailTokenLength], "ZW0t" + access[4:MailTokenLength], text + "A"}
	for i := range text {
		c := "A"
		if text[i] == 'A' {
			c = "B"
		}
		bad = append(bad, text[:i]+c+text[i+1:], text[:i])
	}
	for _, b := range bad {
		if got, err := ParseMailToken(key, b); !fault.Is(err, fault.AuthInvalid) {
			t.Errorf("%q: %+v, %v", b, got, err)
		}
	}
	if _, err := ParseMailToken(otherKey, text); !fault.Is(err, fault.AuthInvalid) {
		t.Errorf("of another cluster: %v", err)
	}
	// It proves nothing at the API (A3).
	if _, err := ParseToken(key, text, now); !fault.Is(err, fault.AuthInvalid) {
		t.Errorf("as an access token: %v", err)
	}
}

func FuzzMailToken(f *testing.F) {
	_, text := NewMailToken(key, 1, now, [TokenEntropy]byte{5: 5})
	f.Add(text, now, uint32(7), []byte("0123456789012345678901"))
	f.Add("ZW0t", now, uint32(1), []byte{})
	f.Fuzz(func(t *testing.T, text string, created int64, app uint32, random []byte) {
		if _, err := ParseMailToken(key, text); err == nil && !IsMailToken(text) {
			t.Fatalf("%q is read", text)
		}
		if created < 0 || created > 1<<47 {
			return
		}
		var entropy [TokenEntropy]byte
		copy(entropy[:], random)
		made, text := NewMailToken(key, entity.AppID(app), created, entropy)
		if got, err := ParseMailToken(key, text); err != nil || got != made || len(text) != MailTokenLength {
			t.Fatalf("%q: %+v, %v, want %+v", text, got, err, made)
		}
	})
}
