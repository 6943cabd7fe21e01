package mail

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trellisdb/trellis/storage/fault"
)

// TestMessageBytes keeps the layout: tasks that were recorded by this version are
// read by later ones.
func TestMessageBytes(t *testing.T) {
	m := Message{ID: someID(), Key: UserPin, Recipients: []Recipient{{Name: "Ann", Address: "a@b.c"}}, Variables: map[string]string{"pin": "1234"}}
	const want = "01" + "00000000000000000000000000000007" + "08757365722d70696e" + "01" + "03416e6e" + "056140622e63" + "01" + "0370696e" + "0431323334"
	b, err := m.Append(nil)
	if err != nil || hex.EncodeToString(b) != want {
		t.Fatalf("%x, %v", b, err)
	}
	got, err := Decode(b)
	if diff := cmp.Diff(m, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	for i := range b {
		if _, err := Decode(b[:i]); !fault.Is(err, fault.Corrupt) {
			t.Errorf("the first %d bytes: %v", i, err)
		}
	}
	for _, wrong := range [][]byte{append(bytes.Clone(b), 0), append([]byte{2}, b[1:]...), bytes.Repeat([]byte{1}, MaxMessageBytes+1)} {
		if _, err := Decode(wrong); !fault.Is(err, fault.Corrupt) {
			t.Errorf("%.40x: %v", wrong, err)
		}
	}
}

// TestMessageRefused wants an error for what nobody can send.
func TestMessageRefused(t *testing.T) {
	many := make([]string, MaxRecipients+1)
	for i := range many {
		many[i] = "ann@example.org"
	}
	if err := reset(many[:MaxRecipients]...).Check(); err != nil {
		t.Error(err)
	}
	for name, edit := range map[string]func(*Message){
		"no id":              func(m *Message) { m.ID = [16]byte{} },
		"no such mail":       func(m *Message) { m.Key = "footer" },
		"nobody":             func(m *Message) { m.Recipients = nil },
		"too many":           func(m *Message) { m.Recipients = reset(many...).Recipients },
		"no link":            func(m *Message) { m.Variables = nil },
		"an empty link":      func(m *Message) { m.Variables["reset_url"] = "" },
		"another's variable": func(m *Message) { m.Variables["pin"] = "1" },
		"not UTF-8":          func(m *Message) { m.Variables["raw_token"] = "\xff" },
		"too long":           func(m *Message) { m.Variables["raw_token"] = strings.Repeat("a", MaxMessageBytes) },
		"a long name":        func(m *Message) { m.Recipients[0].Name = strings.Repeat("a", MaxNameBytes+1) },
	} {
		m := reset("ann@example.org")
		edit(m)
		if _, err := m.Append(nil); !fault.Is(err, fault.IllegalArgument) {
			t.Errorf("%s: %v", name, err)
		}
		if err := NewLog(quiet(), templates(t)).Send(t.Context(), m); !fault.Is(err, fault.IllegalArgument) {
			t.Errorf("%s, sent: %v", name, err)
		} else if _, some := Rest(m, err); some {
			t.Errorf("%s: it is to be tried again", name)
		}
	}
}

// FuzzDecode states that what is read is what was written: no two encodings of one
// message, and nothing that could not have been written.
func FuzzDecode(f *testing.F) {
	for _, m := range []*Message{reset("ann@example.org"), {ID: someID(), Key: UserPin, Recipients: []Recipient{{"Ann", "a@b.c"}, {"", "d@e.f"}}, Variables: map[string]string{"pin": "1"}}} {
		b, err := m.Append(nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Decode(b)
		if err != nil {
			return
		}
		again, err := m.Append(nil)
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x became %x: %v", b, again, err)
		}
	})
}
