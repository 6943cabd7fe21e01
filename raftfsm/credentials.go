package raftfsm

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// credentialKinds are the kinds there are.
var credentialKinds = [...]byte{
	entity.CredentialPassword, entity.CredentialSecret, entity.CredentialPin, entity.CredentialHistory, entity.CredentialIdentity,
	entity.CredentialProvider, entity.CredentialNotifier,
}

func credentialKind(kind byte) error {
	if !slices.Contains(credentialKinds[:], kind) {
		return refuse(fault.IllegalArgument, "unknown kind of credential: %d", kind)
	}
	return nil
}

func (m *Machine) putCredential(app entity.AppID, owner entity.ID, kind byte, c *entity.Credential) {
	m.key = keys.AppendCredential(m.key[:0], m.cfg.Partition, app, owner, kind)
	m.value = entity.AppendCredential(m.value[:0], c)
	m.batch.Set(m.key, m.value)
}

// removeHeld removes what an entity that is deleted holds besides its properties:
// credentials and permissions.
func (m *Machine) removeHeld(c *collection, owner entity.ID) error {
	for _, kind := range credentialKinds {
		m.key = keys.AppendCredential(m.key[:0], c.Partition, c.App, owner, kind)
		if _, ok, err := m.get(m.key); err != nil {
			return err
		} else if ok {
			m.batch.Delete(m.key)
		}
	}
	return m.removeGrants(c, owner)
}

func (m *Machine) setCredential(cmd *command.Command, op *command.SetCredential) (result, error) {
	if err := credentialKind(op.Credential.Kind); err != nil {
		return result{}, err
	}
	c, err := m.open(cmd.App, op.Collection, nil)
	if err != nil {
		return result{}, err
	}
	_, found, err := m.find(c, &command.Target{ID: op.Owner})
	if err != nil {
		return result{}, err
	}
	if !found {
		return result{}, refuse(fault.ServiceResourceNotFound, "no such entity in collection %s", op.Collection)
	}
	stored, _, err := storage.ReadCredential(m.batch, cmd.App, op.Owner, op.Credential.Kind)
	if err != nil {
		return result{}, err
	}
	if op.Expect != nil && !bytes.Equal(op.Expect, stored.Value) {
		return result{}, refuse(fault.Conflict, "the credential was changed meanwhile")
	}
	if len(op.Credential.Value) > 0 {
		stored.Changed, stored.Value = cmd.Time, op.Credential.Value
	}
	if op.RevokeTokens {
		stored.RevokedBefore = max(stored.RevokedBefore, cmd.Time)
	}
	m.putCredential(cmd.App, op.Owner, op.Credential.Kind, &stored)
	m.touched = append(m.touched, cmd.App)
	return result{}, nil
}

func (m *Machine) putToken(cmd *command.Command, op *command.PutToken) (result, error) {
	if err := m.alive(cmd.App); err != nil {
		return result{}, err
	}
	m.key = keys.AppendToken(m.key[:0], m.cfg.Partition, cmd.App, op.Hash)
	m.value = entity.AppendToken(m.value[:0], &op.Token)
	m.batch.Set(m.key, m.value)
	return result{}, nil
}

func (m *Machine) revokeToken(cmd *command.Command, op *command.RevokeToken) (result, error) {
	m.key = keys.AppendToken(m.key[:0], m.cfg.Partition, cmd.App, op.Hash)
	_, ok, err := m.get(m.key)
	if err != nil || !ok {
		return result{}, err
	}
	m.batch.Delete(m.key)
	m.touched = append(m.touched, cmd.App)
	return result{}, nil
}

func (m *Machine) initCluster(cmd *command.Command, op *command.InitCluster) (result, error) {
	if op.Cluster.ID.IsZero() {
		return result{}, refuse(fault.IllegalArgument, "a cluster needs an id")
	}
	m.key = keys.AppendCluster(m.key[:0])
	_, ok, err := m.get(m.key)
	if err != nil {
		return result{}, fmt.Errorf("read cluster record: %w", err)
	}
	if ok {
		return result{}, nil
	}
	m.value = entity.AppendCluster(m.value[:0], &op.Cluster)
	m.batch.Set(m.key, m.value)
	m.touched = append(m.touched, cmd.App)
	return result{}, nil
}
