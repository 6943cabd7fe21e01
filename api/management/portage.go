package management

import (
	"github.com/trellisdb/trellis/api/auth"
	"github.com/trellisdb/trellis/api/portage"
	"github.com/trellisdb/trellis/api/schema"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/storage/fault"
)

// exportApplication streams all that an application holds (spec management section 9).
func (c *call) exportApplication() (*wire.Reply, error) {
	credentials, err := c.credentialsToo()
	if err != nil {
		return nil, err
	}
	only := ""
	if name := c.req.Query("collection"); name != "" {
		t, err := schema.Of(name)
		if err != nil {
			return nil, err
		}
		only = t.Collection
	}
	return c.Portage.Export(c.req, c.req.App, credentials, c.req.Query("data") == "false", only)
}

// credentialsToo reports whether the caller wants hashes of passwords to be exported or
// imported, which the superuser alone may.
func (c *call) credentialsToo() (bool, error) {
	if c.req.Query("credentials") != "true" {
		return false, nil
	}
	if c.req.Principal.Kind != auth.Superuser {
		return false, fault.New(fault.Unauthorized, "only the superuser exports and imports credentials")
	}
	return true, nil
}

// importLines imports some lines of a file that the client has.
func (c *call) importLines() (*wire.Reply, error) {
	credentials, err := c.credentialsToo()
	if err != nil {
		return nil, err
	}
	return c.Portage.Import(c.req, portage.Placed{Number: c.app.Number, ID: c.app.ID}, c.app.Open, credentials)
}
