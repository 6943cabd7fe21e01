package management

import (
	"context"
	"fmt"
	"time"

	"github.com/trellisdb/trellis/api/auth"
	"github.com/trellisdb/trellis/api/directory"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// TestAccount is an organisation, its owner and an application that are there from the
// start, for trying clients out (spec management section 2). All fields are wanted.
type TestAccount struct {
	Organization, Application       string
	Username, Name, Email, Password string
}

// DefaultTestAccount is Usergrid's, but for the password: there is none.
func DefaultTestAccount() TestAccount {
	return TestAccount{Organization: "test-organization", Application: "test-app", Username: "test", Name: "Test User", Email: "test@usergrid.com"}
}

// Check returns what is wrong with an account.
func (t *TestAccount) Check() error {
	if t.Password == "" || t.Name == "" {
		return bad("the test account needs a name and a password")
	}
	if err := checkOrganizationName(t.Organization); err != nil {
		return err
	}
	if _, err := applicationName(&directory.Organization{Name: t.Organization}, t.Application); err != nil {
		return err
	}
	if err := checkUsername(t.Username); err != nil {
		return err
	}
	return checkEmail(t.Email)
}

// SetUpTestAccount makes the test account, unless its organisation is there already: then
// the application that may still be missing. Nobody gets mails of it, and what stands
// between registering and signing in does not stand there. Every node of a cluster may
// call it. It waits for a majority of the cluster as long as ctx lets it. Faults: those of
// Check, Duplicate if somebody else has the name or address of its owner.
func (h *Handlers) SetUpTestAccount(ctx context.Context, t TestAccount) error {
	if err := t.Check(); err != nil {
		return fmt.Errorf("test account: %w", err)
	}
	for {
		err := h.testAccount(ctx, &t)
		switch fault.CodeOf(err) {
		case "":
			return nil
		case fault.NoQuorum, fault.Timeout, fault.NotHere, fault.Overloaded, fault.DiskFull:
			select {
			case <-time.After(100 * time.Millisecond):
				continue
			case <-ctx.Done():
			}
		}
		return fmt.Errorf("test account: %w", err)
	}
}

// testAccount is one try.
func (h *Handlers) testAccount(ctx context.Context, t *TestAccount) error {
	org, err := h.dir.Organization(ctx, t.Organization)
	if fault.Is(err, fault.Management) {
		if err = h.testOrganization(ctx, t); fault.Is(err, fault.Duplicate) { // by another node, perhaps
			if _, none := h.dir.Organization(ctx, t.Organization); none == nil {
				err = nil
			}
		}
		if err == nil {
			org, err = h.dir.Organization(ctx, t.Organization)
		}
	}
	if err != nil {
		return err
	}
	name, err := applicationName(org, t.Application)
	if err != nil {
		return err
	}
	if _, err := h.dir.Application(ctx, org.ID.String(), name); !fault.Is(err, fault.OrganizationApplicationNotFound) {
		return err
	}
	app, err := h.newApplication(name, false)
	if err != nil {
		return err
	}
	err = h.proposeAtStart(ctx, command.CreateApplication{Organization: org.ID, Application: app})
	if fault.Is(err, fault.ApplicationExists) {
		err = nil // by another node
	}
	return err
}

// testOrganization creates the organisation, with its owner and sandbox.
func (h *Handlers) testOrganization(ctx context.Context, t *TestAccount) error {
	sandbox, err := h.newApplication(h.cfg.SandboxName, true)
	if err != nil {
		return err
	}
	record := directory.Fields{}
	record.Set("name", t.Organization)
	record.Set("activated", true)
	org := newEntity(record.JSON())
	secret, err := h.dir.NewClientSecret(auth.OwnerOrganization, org.ID)
	if err != nil {
		return err
	}
	org.Credentials = []command.Credential{secret}
	password, err := h.dir.HashAdminPassword(ctx, t.Password)
	if err != nil {
		return err
	}
	record = directory.Fields{}
	for key, value := range map[string]any{
		"username": t.Username, "name": t.Name, "email": t.Email, "activated": true, "confirmed": true, "disabled": false,
	} {
		record.Set(key, value)
	}
	owner := newEntity(record.JSON())
	owner.Credentials = []command.Credential{password}
	told := organizationEvent(&directory.Organization{ID: org.ID, Name: t.Organization})
	admin := directory.Admin{ID: owner.ID, Username: t.Username, Name: t.Name, Email: t.Email}
	return h.proposeAtStart(ctx, command.Together{
		First: command.CreateOrganization{Organization: org, Name: t.Organization, Owner: &owner, Application: &sandbox},
		Then:  []command.Op{told.post(&admin, []entity.ID{owner.ID}, time.Now().UnixMilli())},
	})
}

func (h *Handlers) proposeAtStart(ctx context.Context, op command.Op) error {
	out, err := h.cluster.Propose(ctx, entity.Management, command.Command{App: entity.Management, Op: op})
	if err == nil && out.Fault != nil {
		err = out.Fault
	}
	return err
}
