package collections

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/trellisdb/trellis/api/auth"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

const (
	maxPin    = 128  // bytes of a PIN
	maxSecret = 4096 // bytes of a password's hash that is transferred
)

// commandUser answers what a user is told to do (spec users-groups-roles sections 1.9
// to 1.12).
func (c *call) commandUser() (*wire.Reply, error) {
	word, method := strings.ToLower(c.seg[2]), c.req.Method()
	switch {
	case word == "deactivate" && method == "POST":
		return c.deactivate()
	case word == "setpin" && (method == "GET" || method == "POST"):
		return c.setPin()
	case word == "sendpin" && (method == "GET" || method == "POST"):
		return c.sendPin()
	case word == "credentials" && (method == "GET" || method == "PUT"):
		return c.credentials(method)
	}
	return nil, fault.New(fault.UnsupportedAction, "%s of a user is not done by %s", word, method)
}

// user finds the user that a command is for.
func (c *call) user() (entity.Entity, error) {
	t, err := c.target(c.seg[1])
	if err != nil {
		return entity.Entity{}, err
	}
	var e entity.Entity
	var found bool
	err = c.upToDate(c.req, func(v *storage.View) error {
		e, found, err = c.find(v, &t)
		return err
	})
	if err == nil && !found {
		err = notFound()
	}
	return e, err
}

// deactivate takes a user out of service: he is not active, and all his tokens are void,
// in one step.
func (c *call) deactivate() (*wire.Reply, error) {
	e, err := c.user()
	if err != nil {
		return nil, err
	}
	patch := strconv.AppendInt([]byte(`{"activated":false,"deactivated":`), c.now(), 10)
	out, err := c.propose(c.req, command.Together{
		First: command.UpdateEntity{Rules: c.typ.Rules(), Target: command.Target{ID: e.ID}, Patch: append(patch, '}')},
		Then: []command.Op{command.SetCredential{
			Collection: c.typ.Collection, Owner: e.ID, Credential: command.Credential{Kind: entity.CredentialPassword}, RevokeTokens: true,
		}},
	})
	if err != nil {
		return nil, err
	}
	shown := []byte{'['}
	for i := range out.Entities {
		shown = wire.AppendEntity(shown, &out.Entities[i], c.shape(), nil)
	}
	return wire.Management("Deactivate user").RawField("entities", append(shown, ']')), nil
}

func (c *call) sealPin(user entity.ID, pin string) (command.Credential, error) {
	if len(pin) > maxPin {
		return command.Credential{}, fault.New(fault.IllegalArgument, "a PIN is longer than %d bytes", maxPin)
	}
	sealed, err := c.accounts.Seal(user, entity.CredentialPin, []byte(pin))
	return command.Credential{Kind: entity.CredentialPin, Value: sealed}, err
}

func (c *call) setPin() (*wire.Reply, error) {
	pin, err := c.req.Param("pin")
	if err != nil {
		return nil, err
	}
	if pin == "" {
		return nil, fault.New(fault.IllegalArgument, "pin is required")
	}
	e, err := c.user()
	if err != nil {
		return nil, err
	}
	sealed, err := c.sealPin(e.ID, pin)
	if err != nil {
		return nil, err
	}
	if _, err := c.propose(c.req, command.SetCredential{Collection: c.typ.Collection, Owner: e.ID, Credential: sealed}); err != nil {
		return nil, err
	}
	return wire.Management("set user pin"), nil
}

func (c *call) sendPin() (*wire.Reply, error) {
	e, err := c.user()
	if err != nil {
		return nil, err
	}
	sealed, err := c.credential(e.ID, entity.CredentialPin)
	if err != nil {
		return nil, err
	}
	if len(sealed.Value) == 0 {
		return nil, notFound() // he has none
	}
	pin, err := c.accounts.Open(e.ID, entity.CredentialPin, sealed.Value)
	if err != nil {
		return nil, err
	}
	if err := c.mails.SendPin(c.req.Context(), c.req.App, &e, string(pin)); err != nil {
		return nil, err
	}
	return wire.Management("retrieve user pin"), nil
}

// credential reads a credential of a user; one he has not is empty.
func (c *call) credential(user entity.ID, kind byte) (stored entity.Credential, err error) {
	err = c.upToDate(c.req, func(v *storage.View) error {
		stored, _, err = storage.ReadCredential(v, c.req.App.Number, user, kind)
		return err
	})
	return stored, err
}

// credentialRecord is the record of a password as Usergrid transfers it.
type credentialRecord struct {
	Recoverable bool     `json:"recoverable"`
	Encrypted   bool     `json:"encrypted"`
	Cipher      string   `json:"cipher"`
	Secret      string   `json:"secret"`
	CryptoChain []string `json:"cryptoChain"`
	HashType    string   `json:"hashType"`
	CreateDate  int64    `json:"createDate"` // ms since the epoch
}

// credentials answers the superuser who moves users between systems: it is the only
// place that a hash leaves the server, and whatever comes is stored as it is.
func (c *call) credentials(method string) (*wire.Reply, error) {
	if c.req.Principal.Kind != auth.Superuser {
		return nil, wire.Challenge(fault.New(fault.Unauthorized, "No system access authorized"))
	}
	e, err := c.user()
	if err != nil {
		return nil, err
	}
	if method == "PUT" {
		return c.putCredentials(e.ID)
	}
	stored, err := c.credential(e.ID, entity.CredentialPassword)
	if err != nil {
		return nil, err
	}
	reply := wire.Management("get user credentials")
	if len(stored.Value) == 0 {
		return reply, nil
	}
	return reply.Field("credentials", credentialRecord{
		Encrypted: true, Cipher: "bcrypt", Secret: string(stored.Value), CryptoChain: []string{"bcrypt"}, HashType: "bcrypt", CreateDate: stored.Changed,
	}), nil
}

func (c *call) putCredentials(user entity.ID) (*wire.Reply, error) {
	text, err := c.object()
	if err != nil {
		return nil, err
	}
	var body struct {
		Credentials *struct {
			Secret string `json:"secret"`
		} `json:"credentials"`
	}
	if text != nil {
		if err := json.Unmarshal(text, &body); err != nil {
			return nil, fault.New(fault.IllegalArgument, "credentials is an object with a secret, which is a string")
		}
	}
	switch {
	case body.Credentials == nil || body.Credentials.Secret == "":
		return nil, fault.New(fault.IllegalArgument, "credentials with a secret are required")
	case len(body.Credentials.Secret) > maxSecret:
		return nil, fault.New(fault.IllegalArgument, "a secret is longer than %d bytes", maxSecret)
	}
	if _, err := c.propose(c.req, command.SetCredential{
		Collection: c.typ.Collection, Owner: user, Credential: command.Credential{Kind: entity.CredentialPassword, Value: []byte(body.Credentials.Secret)},
	}); err != nil {
		return nil, err
	}
	return wire.Management("set user credentials"), nil
}
