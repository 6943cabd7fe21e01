package raftfsm

import "github.com/trellisdb/trellis/raftfsm/command"

// together runs a command and those that go with it. A refused one leaves nothing in
// the batch, so one that follows can be left out by itself.
func (m *Machine) together(cmd *command.Command, op *command.Together) (result, error) {
	single := *cmd
	single.Op = op.First
	res, err := m.dispatch(&single)
	if err != nil {
		return result{}, err
	}
	where := m.where
	m.where = nil // the result's
	for _, then := range op.Then {
		single.Op = then
		if _, err := m.dispatch(&single); err != nil && refusedBy(err) == nil {
			return result{}, err
		}
	}
	m.where = where
	return res, nil
}
