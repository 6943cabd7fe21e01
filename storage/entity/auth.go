package entity

import (
	"encoding/binary"

	"github.com/trellisdb/trellis/storage/fault"
)

// PrincipalKind says what a token speaks for.
type PrincipalKind byte

// Principal kinds, as in spec auth-and-tokens section 1.
const (
	PrincipalAppUser   PrincipalKind = 1
	PrincipalAppClient PrincipalKind = 2
	PrincipalAdmin     PrincipalKind = 3
	PrincipalOrgClient PrincipalKind = 4
)

// TokenPurpose says what a token is good for.
type TokenPurpose byte

// Purposes of tokens. All but TokenAccess travel in the links of mails.
const (
	TokenAccess        TokenPurpose = 0
	TokenActivate      TokenPurpose = 1
	TokenConfirm       TokenPurpose = 2
	TokenResetPassword TokenPurpose = 3
)

// Token is a token's record. The token itself is stored nowhere: the record
// lies under its SHA-256, in the application of its principal (app users: that
// application; admins, clients: the management application).
type Token struct {
	Kind      PrincipalKind
	Principal ID    // user, admin user, application or organisation
	Created   int64 // ms since the epoch
	Expires   int64 // ms since the epoch; 0: never

	// Seq is the number of the app user's entity: who is created later under the
	// same id has another, and is not whom the token was issued to. 0 for the
	// other kinds.
	Seq Seq

	Purpose TokenPurpose
	// Workflow is the organisation on whose behalf a mail with the token was sent;
	// zero: none.
	Workflow ID
	// Accessed is when the token was last seen, ms since the epoch, as far as anybody
	// asked; 0: never. Inactive is the longest time between two uses, ms.
	Accessed, Inactive int64
}

// Kinds of credential.
const (
	CredentialPassword byte = 1 // hash of a password
	CredentialSecret   byte = 2 // client secret of an organisation or application
	CredentialPin      byte = 3 // sealed PIN of an app user
	CredentialHistory  byte = 4 // hashes of former passwords of an admin user
	CredentialIdentity byte = 5 // service and its id of a person it has vouched for
	CredentialProvider byte = 6 // sealed settings of an application's sign-in providers
	CredentialNotifier byte = 7 // sealed secrets of a notifier: a JSON object by property
)

// SealedCredential reports whether credentials of a kind are sealed, and not hashed.
func SealedCredential(kind byte) bool {
	switch kind {
	case CredentialSecret, CredentialPin, CredentialProvider, CredentialNotifier:
		return true
	}
	return false
}

// Credential is a secret stored beside an entity and never shown with it.
type Credential struct {
	Changed       int64 // ms since the epoch
	RevokedBefore int64 // tokens created at or before this time are invalid, ms since the epoch; 0: none
	Value         []byte
}

// Cluster is the cluster's identity, written once at its first start.
type Cluster struct {
	ID         ID
	Key        [32]byte // master key from which token and cursor keys are derived
	Partitions uint32   // application partitions 1…Partitions
	Created    int64    // ms since the epoch
}

const authVersion = 1

// tokenVersion is the version of token records that are more than an access
// token's that nobody asked about; those are of version 1.
const tokenVersion = 2

// AppendToken appends the stored form: version 1 · kind 1 · principal 16 ·
// created varint · expires varint · seq uvarint, and in version 2 purpose 1 ·
// workflow 16 · accessed varint · inactive varint.
func AppendToken(dst []byte, t *Token) []byte {
	more := t.Purpose != TokenAccess || !t.Workflow.IsZero() || t.Accessed != 0 || t.Inactive != 0
	version := byte(authVersion)
	if more {
		version = tokenVersion
	}
	dst = append(dst, version, byte(t.Kind))
	dst = append(dst, t.Principal[:]...)
	dst = binary.AppendVarint(dst, t.Created)
	dst = binary.AppendVarint(dst, t.Expires)
	dst = binary.AppendUvarint(dst, uint64(t.Seq))
	if !more {
		return dst
	}
	dst = append(append(dst, byte(t.Purpose)), t.Workflow[:]...)
	return binary.AppendVarint(binary.AppendVarint(dst, t.Accessed), t.Inactive)
}

// DecodeToken reads what AppendToken wrote, or returns fault.Corrupt.
func DecodeToken(b []byte) (Token, error) {
	var t Token
	if len(b) < 18 || (b[0] != authVersion && b[0] != tokenVersion) {
		return t, fault.New(fault.Corrupt, "token record: bad header")
	}
	more := b[0] == tokenVersion
	t.Kind = PrincipalKind(b[1])
	copy(t.Principal[:], b[2:])
	var ok1, ok2 bool
	t.Created, b, ok1 = varint(b[18:])
	t.Expires, b, ok2 = varint(b)
	seq, n := binary.Uvarint(b)
	if !ok1 || !ok2 || n <= 0 {
		return t, fault.New(fault.Corrupt, "token record: bad length")
	}
	t.Seq, b = Seq(seq), b[n:]
	if more && len(b) > 17 {
		t.Purpose = TokenPurpose(b[0])
		copy(t.Workflow[:], b[1:])
		t.Accessed, b, ok1 = varint(b[17:])
		t.Inactive, b, ok2 = varint(b)
	}
	if !ok1 || !ok2 || len(b) != 0 {
		return t, fault.New(fault.Corrupt, "token record: bad length")
	}
	return t, nil
}

// AppendCredential appends the stored form: version 1 · changed varint ·
// revoked-before varint · value.
func AppendCredential(dst []byte, c *Credential) []byte {
	dst = append(dst, authVersion)
	dst = binary.AppendVarint(dst, c.Changed)
	dst = binary.AppendVarint(dst, c.RevokedBefore)
	return append(dst, c.Value...)
}

// DecodeCredential reads what AppendCredential wrote, or returns
// fault.Corrupt. The value aliases b.
func DecodeCredential(b []byte) (Credential, error) {
	var c Credential
	if len(b) < 1 || b[0] != authVersion {
		return c, fault.New(fault.Corrupt, "credential record: bad header")
	}
	var ok1, ok2 bool
	c.Changed, b, ok1 = varint(b[1:])
	c.RevokedBefore, b, ok2 = varint(b)
	if !ok1 || !ok2 {
		return c, fault.New(fault.Corrupt, "credential record: bad length")
	}
	c.Value = b
	return c, nil
}

// AppendCluster appends the stored form: version 1 · id 16 · key 32 ·
// partitions 4 · created varint.
func AppendCluster(dst []byte, c *Cluster) []byte {
	dst = append(dst, authVersion)
	dst = append(dst, c.ID[:]...)
	dst = append(dst, c.Key[:]...)
	dst = binary.BigEndian.AppendUint32(dst, c.Partitions)
	return binary.AppendVarint(dst, c.Created)
}

// DecodeCluster reads what AppendCluster wrote, or returns fault.Corrupt.
func DecodeCluster(b []byte) (Cluster, error) {
	var c Cluster
	if len(b) < 53 || b[0] != authVersion {
		return c, fault.New(fault.Corrupt, "cluster record: bad header")
	}
	copy(c.ID[:], b[1:])
	copy(c.Key[:], b[17:])
	c.Partitions = binary.BigEndian.Uint32(b[49:])
	var ok bool
	if c.Created, b, ok = varint(b[53:]); !ok || len(b) != 0 {
		return c, fault.New(fault.Corrupt, "cluster record: bad length")
	}
	return c, nil
}
