package management

import (
	"context"
	"strings"

	"github.com/trellisdb/trellis/api/directory"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/storage/fault"
)

// Service is another service whose word for a person is taken, at
// /{org}/{app}/auth/{name}.
type Service struct {
	Name      string // property of the user that keeps the profile, too
	Parameter string // that brings the service's token
	Prefix    string // of the username, before the service's id of the person

	// Check asks the service who somebody is by his token. Faults: InvalidRequest for a
	// token that nobody vouches for, or if the service cannot be asked (A21). nil: the
	// operator has not configured the service.
	Check func(ctx context.Context, token string) (directory.Vouched, error)
}

// social answers /{org}/{app}/auth/{service}.
func (c *call) social() (*wire.Reply, error) {
	name := strings.ToLower(c.segment("service"))
	for i := range c.Services {
		if s := &c.Services[i]; s.Name == name {
			reply, err := c.socialGrant(s)
			if fault.Is(err, fault.InvalidRequest) {
				err = wire.OAuth(err)
			}
			return reply, oauth(err)
		}
	}
	return nil, noRoute()
}

func (c *call) socialGrant(s *Service) (*wire.Reply, error) {
	a := args{req: c.req}
	token, ttl := a.get(s.Parameter), a.get("ttl")
	if a.err != nil {
		return nil, a.err
	}
	app, err := c.dir.ApplicationByID(c.req.Context(), c.req.App.ID)
	if err != nil {
		return nil, err
	}
	life, err := c.dir.Life(ttl, app)
	if err != nil {
		return nil, err
	}
	if token == "" {
		return nil, fault.New(fault.InvalidRequest, "missing access token")
	}
	if s.Check == nil {
		return nil, fault.New(fault.InvalidRequest, "")
	}
	person, err := s.Check(c.req.Context(), token)
	if err != nil {
		return nil, err
	}
	person.Service, person.Username = s.Name, s.Prefix+person.ID
	user, err := c.dir.VouchedUser(c.req.Context(), app.Number, &person)
	if err != nil {
		return nil, err
	}
	if err := directory.MayLogin(user.Activated, user.Disabled); err != nil {
		return nil, err
	}
	return c.userGrant(app, user, life)
}
