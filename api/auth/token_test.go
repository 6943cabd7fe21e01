package auth

import (
	"crypto/sha256"
	"strings"
	"testing"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

const now = int64(1_700_000_000_000)

var (
	key      = DeriveKey([32]byte{1, 2, 3}, "token")
	otherKey = DeriveKey([32]byte{1, 2, 4}, "token")
)

func TestToken(t *testing.T) {
	made, text := NewToken(key, 4711, now, now+1000, [TokenEntropy]byte{1, 2, 3, 19: 9, 20: 200, 21: 7})
	if len(text) != TokenLength || !strings.HasPrefix(text, "YWMt") {
		t.Errorf("text %q", text)
	}
	if made.Hash != sha256.Sum256([]byte(text)) {
		t.Error("hash is not that of the text")
	}
	if ms, ok := made.ID.Time(); !ok || ms != now {
		t.Errorf("the id carries the time %d, %v", ms, ok)
	}
	got, err := ParseToken(key, text, now)
	if err != nil || got != made {
		t.Errorf("parsed %+v, %v, want %+v", got, err, made)
	}
	if got.App != 4711 || got.Expires != now+1000 {
		t.Errorf("parsed %+v", got)
	}
	if _, err := ParseToken(key, text, now+1000); !fault.Is(err, fault.ExpiredToken) {
		t.Errorf("at its expiry: %v", err)
	}
	if _, err := ParseToken(otherKey, text, now); !fault.Is(err, fault.BadAccessToken) {
		t.Errorf("of another cluster: %v", err)
	}
	// A wrong signature is not an expired token, however old the stamp.
	if _, err := ParseToken(otherKey, text, now+5000); !fault.Is(err, fault.BadAccessToken) {
		t.Errorf("expired and of another cluster: %v", err)
	}
	eternal, text := NewToken(key, 1, now, 0, [TokenEntropy]byte{})
	if got, err := ParseToken(key, text, now*2); err != nil || got != eternal || got.Expires != 0 {
		t.Errorf("eternal: %+v, %v", got, err)
	}
}

func TestNoOtherTextIsAToken(t *testing.T) {
	_, text := NewToken(key, 1, now, now+1000, [TokenEntropy]byte{5: 5})
	for i := range text {
		for _, c := range []byte("AZaz09-_+/= \n\x00\xff") {
			if text[i] == c {
				continue
			}
			changed := text[:i] + string([]byte{c}) + text[i+1:]
			if _, err := ParseToken(key, changed, now); !fault.Is(err, fault.BadAccessToken) {
				t.Fatalf("byte %d changed to %q: %v", i, c, err)
			}
		}
		if _, err := ParseToken(key, text[:i], now); !fault.Is(err, fault.BadAccessToken) {
			t.Fatalf("cut at %d: %v", i, err)
		}
	}
	for _, bad := range []string{"", "BADTOKEN", "xxx:yyy", text + "A", " " + text, strings.Repeat("A", 100000)} {
		if _, err := ParseToken(key, bad, now); !fault.Is(err, fault.BadAccessToken) {
			t.Errorf("%.80q: %v", bad, err)
		}
	}
	if _, err := ParseToken(key, "ZW0t"+strings.Repeat("A", 48), now); !fault.Is(err, fault.AuthInvalid) {
		t.Errorf("token of an e-mail link: %v", err)
	}
}

func FuzzToken(f *testing.F) {
	_, text := NewToken(key, 1, now, now+1000, [TokenEntropy]byte{5: 5})
	f.Add(text, now, now+1000, uint32(7), []byte("0123456789012345678901"))
	f.Add("YWMt", now, int64(0), uint32(1), []byte{})
	f.Fuzz(func(t *testing.T, text string, created, expires int64, app uint32, random []byte) {
		if got, err := ParseToken(key, text, now); err == nil && got.Hash != sha256.Sum256([]byte(text)) {
			t.Fatalf("%q: %+v", text, got)
		}
		if created < 0 || created > 1<<47 || expires < 0 || expires == 1<<63-1 {
			return
		}
		var entropy [TokenEntropy]byte
		copy(entropy[:], random)
		made, text := NewToken(key, entity.AppID(app), created, expires, entropy)
		got, err := ParseToken(key, text, expires-1)
		if err != nil || got != made || len(text) != TokenLength {
			t.Fatalf("%q: %+v, %v, want %+v", text, got, err, made)
		}
	})
}

// The worked example of spec auth-and-tokens section 2.1.
func TestClientID(t *testing.T) {
	id, _ := entity.ParseID("1f0c9a52-5c31-11ee-8c99-0242ac120002")
	if got := ClientID(OwnerOrganization, id); got != "b3U6HwyaUlwxEe6MmQJCrBIAAg" {
		t.Errorf("ClientID = %s", got)
	}
	for o, prefix := range map[Owner]string{OwnerOrganization: "b3U6", OwnerApplication: "YXA6", OwnerAdmin: "YWQ6", OwnerUser: "YXU6"} {
		s := ClientID(o, id)
		owner, got, ok := ParseClientID(s)
		if !ok || owner != o || got != id || len(s) != 26 || s[:4] != prefix {
			t.Errorf("%s: %v %v %v", s, owner, got, ok)
		}
		if secret := ClientSecret(o, [SecretEntropy]byte{10, 11}); len(secret) != 31 || secret[:4] != prefix {
			t.Errorf("secret %s", secret)
		}
	}
	if got := ClientSecret(OwnerOrganization, [SecretEntropy]byte{10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29}); got != "b3U6CgsMDQ4PEBESExQVFhcYGRobHB0" {
		t.Errorf("ClientSecret = %s", got)
	}
	for _, bad := range []string{"", "b3U6", "c2V7HwyaUlwxEe6MmQJCrBIAAg", "b3U6HwyaUlwxEe6MmQJCrBIAAh", "b3U6HwyaUlwxEe6MmQJCrBIA\nA", "superuser"} {
		if _, _, ok := ParseClientID(bad); ok {
			t.Errorf("%q is taken for a client id", bad)
		}
	}
}

func FuzzClientID(f *testing.F) {
	f.Add("b3U6HwyaUlwxEe6MmQJCrBIAAg")
	f.Fuzz(func(t *testing.T, s string) {
		if o, id, ok := ParseClientID(s); ok && ClientID(o, id) != s {
			t.Errorf("%q is another spelling of %s", s, ClientID(o, id))
		}
	})
}

func TestPasswordPolicy(t *testing.T) {
	strict := PasswordPolicy{MinLength: 8, MaxBytes: 20, MinUppercase: 1, MinDigits: 2, MinSpecial: 1}
	for _, tc := range []struct {
		policy   PasswordPolicy
		password string
		want     string
	}{
		{DefaultPasswordPolicy(), "abcd", ""},
		{DefaultPasswordPolicy(), "äöüß", ""},
		{DefaultPasswordPolicy(), "abc", "error_length_policy: must be at least 4 characters"},
		{DefaultPasswordPolicy(), strings.Repeat("a", 1025), "error_length_policy: must be at most 1024 bytes"},
		{strict, "Abcdef1$2", ""},
		{strict, "abc", "error_length_policy: must be at least 8 characters error_uppercase_policy: must be at least 1 uppercase characters " +
			"error_digits_policy: must be at least 2 digits error_special_chars_policy: must be at least 1 special characters"},
	} {
		err := tc.policy.Check(tc.password)
		if tc.want == "" {
			if err != nil {
				t.Errorf("%q: %v", tc.password, err)
			}
			continue
		}
		if !fault.Is(err, fault.PasswordPolicy) || !strings.HasSuffix(err.Error(), tc.want) {
			t.Errorf("%q: %v, want %s", tc.password, err, tc.want)
		}
	}
}

func TestSame(t *testing.T) {
	if !Same("secret", "secret") || Same("secret", "secres") || Same("secret", "secret1") || Same("", "x") {
		t.Error("Same")
	}
}
