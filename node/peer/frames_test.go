package peer

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/trellisdb/trellis/storage/entity"
)

func filled(b byte) (n nonce) {
	for i := range n {
		n[i] = b
	}
	return n
}

// sampleTalk is a handshake in which nothing is random, frame by frame.
func sampleTalk(t *testing.T) (challenge, said, told []byte) {
	t.Helper()
	key, err := deriveKey([]byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	cluster := entity.ID{15: 9}
	h := hello{lane: RaftLane(3, 1), nonce: filled(2), claim: claim{cluster: cluster, id: "a~1"}}
	a := answer{status: statusNoLane, claim: claim{cluster: cluster, id: "b~2"}}

	talk := newTranscript(key, [bindingBytes]byte{}, filled(1))
	talk.hello(&h)
	p := talk.proof(dialler)
	said = append(appendHello(nil, &h), p[:]...)
	talk.answer(&a)
	p = talk.proof(acceptor)
	told = append(appendAnswer(nil, &a), p[:]...)
	return appendChallenge(nil, filled(1)), said, told
}

// TestVersion1 keeps what nodes of version 1 say to each other: a change here
// is a new version. The proofs were computed by another program.
func TestVersion1(t *testing.T) {
	challenge, said, told := sampleTalk(t)
	for _, tc := range []struct {
		frame string
		got   []byte
		want  []string
	}{
		{"challenge", challenge, []string{"54524c5001", strings.Repeat("01", 32)}},
		{"hello", said, []string{
			"54524c5001", "0000000300000001", strings.Repeat("02", 32),
			"00000000000000000000000000000009", "03", "617e31",
			"219fa00393c28c8496826dfbb5308883a95aea525e825318fff02ed1ec6e5d88",
		}},
		{"answer", told, []string{
			"54524c5001", "01",
			"00000000000000000000000000000009", "03", "627e32",
			"3910b8ce6328b721f166f21284acaf3cc81b39513c3a6adab90852f059a558c4",
		}},
	} {
		t.Run(tc.frame, func(t *testing.T) {
			if got, want := hex.EncodeToString(tc.got), strings.Join(tc.want, ""); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

// TestReadRefuses names what is not a frame.
func TestReadRefuses(t *testing.T) {
	_, said, _ := sampleTalk(t)
	changed := func(at int, to byte) []byte {
		b := bytes.Clone(said)
		b[at] = to
		return b
	}
	for _, tc := range []struct {
		name string
		b    []byte
		want error
	}{
		{"another protocol", []byte("GET / HTTP/1.1\r\n\r\n"), errMalformed},
		{"another version", changed(4, 2), ErrVersion},
		{"no node id", changed(5+8+32+16, 0), errMalformed},
		{"nothing", nil, io.EOF},
		{"the end is missing", said[:len(said)-1], io.ErrUnexpectedEOF},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, _, err := readHello(bytes.NewReader(tc.b)); !errors.Is(err, tc.want) {
				t.Errorf("read: %v, want %v", err, tc.want)
			}
		})
	}
}

// FuzzFrames states, for each frame, that what is read prints to the bytes it
// was read from, and that the reader takes none beyond them and never more than
// maxFrame.
func FuzzFrames(f *testing.F) {
	challenge, said, told := sampleTalk(&testing.T{})
	f.Add(challenge)
	f.Add(said)
	f.Add(told)
	f.Add(append(bytes.Clone(said), "payload"...))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	longest := hello{claim: claim{id: entity.NodeID(strings.Repeat("x", maxID))}}
	f.Add(append(appendHello(nil, &longest), make([]byte, len(proof{}))...))
	f.Fuzz(func(t *testing.T, b []byte) {
		check := func(frame string, r *bytes.Reader, printed []byte, err error) {
			taken := len(b) - r.Len()
			if taken > maxFrame {
				t.Errorf("%s: took %d bytes, the longest frame has %d", frame, taken, maxFrame)
			}
			if err == nil && !bytes.Equal(printed, b[:taken]) {
				t.Errorf("%s: %x prints to %x", frame, b[:taken], printed)
			}
		}
		r := bytes.NewReader(b)
		n, err := readChallenge(r)
		check("challenge", r, appendChallenge(nil, n), err)

		r = bytes.NewReader(b)
		h, p, err := readHello(r)
		check("hello", r, append(appendHello(nil, &h), p[:]...), err)

		r = bytes.NewReader(b)
		a, p, err := readAnswer(r)
		check("answer", r, append(appendAnswer(nil, &a), p[:]...), err)
	})
}
