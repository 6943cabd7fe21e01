package mail

import (
	"encoding/binary"
	"fmt"
	"maps"
	netmail "net/mail"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// Bounds of a Message.
const (
	MaxRecipients   = 100      // more recipients are several messages
	MaxMessageBytes = 32 << 10 // encoded
	MaxNameBytes    = 256      // of a recipient's display name
	MaxAddressBytes = 254      // of a recipient's address (RFC 5321, 4.5.3.1.3)
)

// messageVersion is the first byte of every message this version encodes.
const messageVersion = 1

// Message says which mail goes to whom. It holds no text and no language.
type Message struct {
	ID         entity.ID // of the task, say: it makes the Message-IDs, and a message of the same id is the same mail
	Key        Key
	Recipients []Recipient
	Variables  map[string]string // see Variables
}

// Recipient is a person and where their mail goes.
type Recipient struct {
	Name    string // display name; may be empty
	Address string // user@example.org, and nothing around it
}

// Check says whether the message can be sent as far as anybody can know
// beforehand. Fault: IllegalArgument.
func (m *Message) Check() error {
	k, ok := kindOf(m.Key)
	switch {
	case !ok:
		return fault.New(fault.IllegalArgument, "there is no mail %q", m.Key)
	case m.ID.IsZero():
		return fault.New(fault.IllegalArgument, "a mail has an id")
	case len(m.Recipients) == 0 || len(m.Recipients) > MaxRecipients:
		return fault.New(fault.IllegalArgument, "a mail has 1 to %d recipients, not %d", MaxRecipients, len(m.Recipients))
	}
	for _, r := range m.Recipients {
		if err := r.check(); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m.Variables)) {
		if !k.knows(name) {
			return fault.New(fault.IllegalArgument, "the mail %s has no variable %q", m.Key, name)
		}
		if !utf8.ValidString(m.Variables[name]) {
			return fault.New(fault.IllegalArgument, "variable %s of the mail %s is not UTF-8", name, m.Key)
		}
	}
	if err := k.complete(m.Variables); err != nil {
		return err
	}
	if n := len(appendMessage(nil, m)); n > MaxMessageBytes {
		return fault.New(fault.IllegalArgument, "a mail has up to %d bytes, not %d", MaxMessageBytes, n)
	}
	return nil
}

// complete tells whether vars has all that the mail cannot do without.
func (k *kind) complete(vars map[string]string) error {
	for _, name := range k.required {
		if _, ok := vars[name]; !ok {
			return fault.New(fault.IllegalArgument, "the mail %s lacks the variable %s", k.key, name)
		}
	}
	if k.link != "" && vars[k.link] == "" {
		return fault.New(fault.IllegalArgument, "the mail %s lacks its link, %s", k.key, k.link)
	}
	return nil
}

// check refuses an address that is more than an address, or none.
func (r Recipient) check() error {
	if len(r.Name) > MaxNameBytes || !utf8.ValidString(r.Name) {
		return fault.New(fault.IllegalArgument, "the name of a recipient has up to %d bytes of UTF-8", MaxNameBytes)
	}
	if len(r.Address) > MaxAddressBytes || !plainAddress(r.Address) {
		return fault.New(fault.IllegalArgument, "%q is no mail address", cut(r.Address, MaxAddressBytes))
	}
	return nil
}

// plainAddress tells whether s is local@domain without anything around it.
func plainAddress(s string) bool {
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }) {
		return false
	}
	parsed, err := netmail.ParseAddress(s)
	return err == nil && parsed.Name == "" && parsed.Address == s
}

// cut returns at most n bytes of s.
func cut(s string, n int) string {
	if len(s) > n {
		return s[:n] + "…"
	}
	return s
}

// Append appends the message as Decode reads it.
//
//	version 1 = 1 · id 16 · key · recipients uvarint · for each: name · address ·
//	variables uvarint · for each, in the order of their names: name · value
//
// Texts have their length before them, as uvarint. Fault: that of Check.
func (m *Message) Append(dst []byte) ([]byte, error) {
	if err := m.Check(); err != nil {
		return dst, err
	}
	return appendMessage(dst, m), nil
}

func appendMessage(dst []byte, m *Message) []byte {
	dst = append(dst, messageVersion)
	dst = append(dst, m.ID[:]...)
	dst = appendText(dst, string(m.Key))
	dst = binary.AppendUvarint(dst, uint64(len(m.Recipients)))
	for _, r := range m.Recipients {
		dst = appendText(appendText(dst, r.Name), r.Address)
	}
	dst = binary.AppendUvarint(dst, uint64(len(m.Variables)))
	for _, name := range slices.Sorted(maps.Keys(m.Variables)) {
		dst = appendText(appendText(dst, name), m.Variables[name])
	}
	return dst
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// Decode reads what Append wrote, and copies it. Fault: Corrupt for what is not
// whole, not as Append writes it, or not a message that passes Check.
func Decode(b []byte) (Message, error) {
	m, err := decode(b)
	if err == nil {
		err = m.Check()
	}
	if err != nil {
		return Message{}, fault.Wrap(err, fault.Corrupt, "a mail of %d bytes cannot be read", len(b))
	}
	return m, nil
}

func decode(b []byte) (Message, error) {
	if len(b) > MaxMessageBytes {
		return Message{}, fmt.Errorf("it is longer than %d bytes", MaxMessageBytes)
	}
	r := reader{b: b}
	if v := r.byte(); !r.bad && v != messageVersion {
		return Message{}, fmt.Errorf("version %d", v)
	}
	var m Message
	copy(m.ID[:], r.take(uint64(len(m.ID))))
	m.Key = Key(r.text())
	for range r.count(MaxRecipients) {
		m.Recipients = append(m.Recipients, Recipient{Name: r.text(), Address: r.text()})
	}
	last := ""
	for i := range r.count(MaxMessageBytes / 2) {
		name, value := r.text(), r.text()
		if r.bad {
			break
		}
		if i > 0 && name <= last {
			return Message{}, fmt.Errorf("variable %q stands after %q", name, last)
		}
		if m.Variables == nil {
			m.Variables = map[string]string{}
		}
		m.Variables[name], last = value, name
	}
	if r.bad || len(r.b) > 0 {
		return Message{}, fmt.Errorf("it ends too early or too late")
	}
	return m, nil
}

// reader takes a message apart. Once bad it gives nothing more.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) byte() byte {
	b := r.take(1)
	if r.bad {
		return 0
	}
	return b[0]
}

func (r *reader) take(n uint64) []byte {
	if r.bad || n > uint64(len(r.b)) {
		r.bad = true
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

// uvarint refuses a number that is written longer than it need be.
func (r *reader) uvarint() uint64 {
	n, size := binary.Uvarint(r.b)
	if r.bad || size <= 0 || size > 1 && r.b[size-1] == 0 {
		r.bad = true
		return 0
	}
	r.b = r.b[size:]
	return n
}

// count reads how many things follow, of at least a byte each.
func (r *reader) count(limit int) int {
	n := r.uvarint()
	if n > uint64(limit) || n > uint64(len(r.b)) {
		r.bad = true
		return 0
	}
	return int(n)
}

func (r *reader) text() string { return string(r.take(r.uvarint())) }
