package management

import (
	"context"

	"github.com/valyala/fastjson"

	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

const mailUserPin = "user-pin"

// SendPin mails an application's user his PIN. Faults: IllegalArgument if he has no
// address; TooManyRequests if he was sent one too often.
func (h *Handlers) SendPin(ctx context.Context, app *wire.Application, user *entity.Entity, pin string) error {
	v, err := fastjson.ParseBytes(user.JSON)
	if err != nil {
		return fault.Wrap(err, fault.Corrupt, "user %s is not JSON", user.ID)
	}
	address := string(v.GetStringBytes("email"))
	if address == "" {
		return bad("the user has no e-mail address")
	}
	if err := h.dir.AllowMail(ctx, app.Number, user.ID.String()); err != nil {
		return err
	}
	task, err := h.Mailer.Task(Mail{
		Key: mailUserPin, To: []Recipient{recipientOf(string(v.GetStringBytes("name")), address)}, Variables: map[string]string{"pin": pin},
	})
	if err != nil {
		return bad("the mail cannot be sent: %s", fault.CodeOf(err))
	}
	out, err := h.cluster.Propose(ctx, app.Number, command.Command{App: app.Number, Op: command.PutTask{Task: task}})
	if err == nil && out.Fault != nil {
		err = out.Fault
	}
	return err
}
