package webpush

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"slices"
)

const (
	recordSize = 4096
	saltSize   = 16
	headSize   = saltSize + 4 + 1 + 65
	// maxPlain is what fits one record: without its head, the mark of its end and the
	// tag of the cipher.
	maxPlain = recordSize - headSize - 1 - 16
)

// encrypt makes the one record of a message (RFC 8291 section 4, RFC 8188):
//
//	salt 16 · record size 4 · length of the key 1 · public key 65 · AES-128-GCM(plain · 0x02)
//
// own and salt must be of this message alone.
func encrypt(s *subscription, own *ecdh.PrivateKey, salt, plain []byte) ([]byte, error) {
	shared, err := own.ECDH(s.key)
	if err != nil {
		return nil, err
	}
	info := slices.Concat([]byte("WebPush: info\x00"), s.key.Bytes(), own.PublicKey().Bytes())
	keyMaterial, err := hkdf.Key(sha256.New, shared, s.auth, string(info), 32)
	if err != nil {
		return nil, err
	}
	key, err := hkdf.Key(sha256.New, keyMaterial, salt, "Content-Encoding: aes128gcm\x00", 16)
	if err != nil {
		return nil, err
	}
	nonce, err := hkdf.Key(sha256.New, keyMaterial, salt, "Content-Encoding: nonce\x00", 12)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	public := own.PublicKey().Bytes()
	out := make([]byte, 0, headSize+len(plain)+1+aead.Overhead())
	out = append(out, salt...)
	out = binary.BigEndian.AppendUint32(out, recordSize)
	out = append(out, byte(len(public)))
	out = append(out, public...)
	return aead.Seal(out, nonce, append(slices.Clone(plain), 2), nil), nil
}
