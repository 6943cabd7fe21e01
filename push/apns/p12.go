package apns

import (
	"crypto"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"unicode/utf16"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/trellisdb/trellis/push/provider"
)

// maxFile bounds a file, in bytes, and with it the key in it. Files in use have 3,000 to
// 10,000.
const maxFile = 32 << 10

// maxIterations bounds each derivation of a key from a password. Files in use have
// 2,000 to 600,000.
const maxIterations = 1_000_000

// pair is a certificate with its key.
type pair struct {
	leaf  *x509.Certificate
	chain [][]byte // DER, the leaf first
	key   crypto.PrivateKey
}

// openStored opens the certificate among a notifier's secrets.
func openStored(secrets provider.Secrets) (*pair, error) {
	content, err := base64.StdEncoding.DecodeString(secrets["p12Certificate"])
	if err != nil {
		return nil, errors.New("the stored certificate cannot be read")
	}
	return openP12(content, secrets["certificatePassword"])
}

// openP12 opens a PKCS#12 file. go-pkcs12 derives keys with as many iterations as the
// file says, so the file is looked through first, and handed on with the parts in an
// order in which no other derivation can hide in what is encrypted.
func openP12(content []byte, password string) (*pair, error) {
	if len(content) > maxFile {
		return nil, fmt.Errorf("it is longer than %d bytes", maxFile)
	}
	safe, err := checkedSafe(content)
	if err != nil {
		return nil, err
	}
	var key any
	var leaf *x509.Certificate
	var others []*x509.Certificate
	for _, macPassword := range macPasswords(password) {
		var file []byte
		if file, err = withMAC(safe, macPassword); err != nil {
			return nil, err
		}
		if key, leaf, others, err = pkcs12.DecodeChain(file, password); err == nil {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	return matching(key, append([]*x509.Certificate{leaf}, others...))
}

// matching finds the certificate of the key, wherever it stands.
func matching(key any, certificates []*x509.Certificate) (*pair, error) {
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("the key cannot sign")
	}
	public, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok {
		return nil, errors.New("the key cannot be compared")
	}
	at := slices.IndexFunc(certificates, func(c *x509.Certificate) bool { return public.Equal(c.PublicKey) })
	if at < 0 {
		return nil, errors.New("no certificate is of the key")
	}
	p := &pair{leaf: certificates[at], key: key, chain: [][]byte{certificates[at].Raw}}
	for i, c := range certificates {
		if i != at {
			p.chain = append(p.chain, c.Raw)
		}
	}
	return p, nil
}

// The parts of a PKCS#12 file that are looked at (RFC 7292 section 4).
type (
	pfx struct {
		Version  int
		AuthSafe contentInfo
		MAC      asn1.RawValue `asn1:"optional"`
	}
	contentInfo struct {
		ContentType asn1.ObjectIdentifier
		Content     asn1.RawValue `asn1:"tag:0,explicit,optional"`
	}
	encryptedData struct {
		Version int
		Content struct {
			ContentType asn1.ObjectIdentifier
			Algorithm   pkix.AlgorithmIdentifier
			Encrypted   asn1.RawValue `asn1:"tag:0,optional"`
		}
	}
	safeBag struct {
		ID         asn1.ObjectIdentifier
		Value      asn1.RawValue `asn1:"tag:0,explicit"`
		Attributes asn1.RawValue `asn1:"set,optional"`
	}
	shroudedKey struct {
		Algorithm pkix.AlgorithmIdentifier
		Encrypted []byte
	}
)

var (
	oidData          = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	oidEncryptedData = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 6}
	oidKeyBag        = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 1}
	oidShroudedBag   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 2}
	oidPBES2         = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}
	oidSHA1          = asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}
)

// checkedSafe returns the authenticated safe of a file, with the contents that are not
// encrypted first. It wants the one key among those: the reader takes no second one,
// and does not decrypt it.
func checkedSafe(content []byte) ([]byte, error) {
	var file pfx
	if err := unmarshal(content, &file); err != nil {
		return nil, err
	}
	if file.Version != 3 || !file.AuthSafe.ContentType.Equal(oidData) {
		return nil, errors.New("it is no file protected by a password")
	}
	var octets []byte
	if err := unmarshal(file.AuthSafe.Content.Bytes, &octets); err != nil {
		return nil, err
	}
	var contents []asn1.RawValue
	if err := unmarshal(octets, &contents); err != nil {
		return nil, err
	}
	var plain, encrypted []asn1.RawValue
	keys := 0
	for _, raw := range contents {
		var info contentInfo
		if err := unmarshal(raw.FullBytes, &info); err != nil {
			return nil, err
		}
		switch {
		case info.ContentType.Equal(oidData):
			n, err := checkedBags(info.Content.Bytes)
			if err != nil {
				return nil, err
			}
			keys += n
			plain = append(plain, raw)
		case info.ContentType.Equal(oidEncryptedData):
			var data encryptedData
			if err := unmarshal(info.Content.Bytes, &data); err != nil {
				return nil, err
			}
			if err := checkIterations(data.Content.Algorithm); err != nil {
				return nil, err
			}
			encrypted = append(encrypted, raw)
		default:
			return nil, errors.New("it has contents of an unknown kind")
		}
	}
	if keys != 1 {
		return nil, fmt.Errorf("it has %d keys outside of what is encrypted as a whole, want 1", keys)
	}
	return asn1.Marshal(append(plain, encrypted...))
}

// checkedBags counts the keys in contents that are not encrypted as a whole.
func checkedBags(content []byte) (keys int, err error) {
	var octets []byte
	if err := unmarshal(content, &octets); err != nil {
		return 0, err
	}
	var bags []safeBag
	if err := unmarshal(octets, &bags); err != nil {
		return 0, err
	}
	for _, bag := range bags {
		switch {
		case bag.ID.Equal(oidKeyBag):
			keys++
		case bag.ID.Equal(oidShroudedBag):
			keys++
			var key shroudedKey
			if err := unmarshal(bag.Value.Bytes, &key); err != nil {
				return 0, err
			}
			if err := checkIterations(key.Algorithm); err != nil {
				return 0, err
			}
		}
	}
	return keys, nil
}

// checkIterations reads the count of a password-based encryption: of PBKDF2 within
// PBES2, else of the older schemes, all of which have salt and count.
func checkIterations(algorithm pkix.AlgorithmIdentifier) error {
	parameters := algorithm.Parameters.FullBytes
	if algorithm.Algorithm.Equal(oidPBES2) {
		var p struct {
			KDF    pkix.AlgorithmIdentifier
			Cipher pkix.AlgorithmIdentifier
		}
		if err := unmarshal(parameters, &p); err != nil {
			return err
		}
		parameters = p.KDF.Parameters.FullBytes
	}
	var p []asn1.RawValue // salt, count, …
	if err := unmarshal(parameters, &p); err != nil {
		return err
	}
	if len(p) < 2 {
		return errors.New("the parameters of a cipher are incomplete")
	}
	var count int
	if err := unmarshal(p[1].FullBytes, &count); err != nil {
		return err
	}
	if count < 1 || count > maxIterations {
		return fmt.Errorf("it wants %d iterations, more than %d are not done", count, maxIterations)
	}
	return nil
}

// macPasswords are the forms of a password (RFC 7292 appendix B.1) that a MAC may be
// made with. An empty one is written with its terminator by some, and as nothing at all
// by others; the reader takes the form of the MAC for the ciphers too.
func macPasswords(password string) [][]byte {
	var terminated []byte
	for _, unit := range utf16.Encode([]rune(password)) {
		terminated = binary.BigEndian.AppendUint16(terminated, unit)
	}
	terminated = append(terminated, 0, 0)
	if password == "" {
		return [][]byte{terminated, nil}
	}
	return [][]byte{terminated}
}

// withMAC makes a file of an authenticated safe, with a MAC that takes one iteration.
// That of the original is left behind: a wrong password shows in what it decrypts.
func withMAC(safe, password []byte) ([]byte, error) {
	salt := []byte("trellis.")
	mac := hmac.New(sha1.New, macKey(salt, password))
	mac.Write(safe)
	octets, err := asn1.Marshal(safe)
	if err != nil {
		return nil, err
	}
	type digestInfo struct {
		Algorithm pkix.AlgorithmIdentifier
		Digest    []byte
	}
	type macData struct {
		MAC        digestInfo
		Salt       []byte
		Iterations int `asn1:"optional,default:1"`
	}
	return asn1.Marshal(struct {
		Version  int
		AuthSafe contentInfo
		MAC      macData
	}{
		Version:  3,
		AuthSafe: contentInfo{ContentType: oidData, Content: asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: octets}},
		MAC: macData{
			MAC:        digestInfo{Algorithm: pkix.AlgorithmIdentifier{Algorithm: oidSHA1, Parameters: asn1.NullRawValue}, Digest: mac.Sum(nil)},
			Salt:       salt,
			Iterations: 1,
		},
	})
}

// macKey derives a key (RFC 7292 appendix B.2) for SHA-1, purpose 3 and one iteration:
// one block, and one hash of it.
func macKey(salt, password []byte) []byte {
	h := sha1.New()
	for range 64 {
		h.Write([]byte{3})
	}
	h.Write(filled(salt))
	h.Write(filled(password))
	return h.Sum(nil)
}

// filled repeats b up to a whole number of blocks of 64 bytes.
func filled(b []byte) []byte {
	n := (len(b) + 63) / 64 * 64
	out := make([]byte, 0, n)
	for len(out) < n {
		out = append(out, b[:min(len(b), n-len(out))]...)
	}
	return out
}

// unmarshal reads DER and wants nothing behind it.
func unmarshal(der []byte, into any) error {
	rest, err := asn1.Unmarshal(der, into)
	if err == nil && len(rest) > 0 {
		err = errors.New("something follows the value")
	}
	return err
}
