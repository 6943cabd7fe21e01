package apitest

import (
	"context"
	"encoding/json"
	"log/slog"

	"github.com/trellisdb/trellis/api/collections"
	"github.com/trellisdb/trellis/api/directory"
	"github.com/trellisdb/trellis/node"
	"github.com/trellisdb/trellis/node/tasks"
	"github.com/trellisdb/trellis/push"
	"github.com/trellisdb/trellis/push/provider"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// startEngine starts what sends notifications, if the options want one, and offers it to
// the handlers.
func (s *Server) startEngine(opts *Options, dir *directory.Directory, log *slog.Logger) error {
	if opts.Engine == nil {
		return nil
	}
	cfg := push.DefaultConfig()
	opts.Engine(&cfg)
	e, err := push.Start(cfg, pushHost{s.Node}, s.Data, dir, log)
	if err != nil {
		return err
	}
	s.Engine.Store(e)
	s.onClose(func() error { e.Close(); return nil })
	opts.Push.Push = pusher{e}
	s.Data.WithPush(opts.Push)
	return nil
}

// notify does the next step of a notification. Without an engine none is ever due.
func (s *Server) notify(ctx context.Context, job *tasks.Job) (tasks.Step, error) {
	e := s.Engine.Load()
	if e == nil {
		return tasks.Step{}, fault.New(fault.Stopping, "the node is starting")
	}
	st, err := e.Step(ctx, push.Task{App: job.Task.App, Partition: job.Partition, Body: job.Task.Body, Attempts: int(job.Task.Attempts), Now: job.Now})
	return tasks.Step{Effect: st.Effect, Finish: st.Finish, NotBefore: st.NotBefore, Body: st.Body}, err
}

// pushHost is the node as the engine sees it.
type pushHost struct{ *node.Node }

// View implements push.Host.
func (h pushHost) View(p entity.Partition) (*storage.View, error) { return h.Applied(p) }

// pusher is the engine as the API sees it.
type pusher struct{ *push.Engine }

// CheckNotifier implements collections.Push.
func (p pusher) CheckNotifier(ctx context.Context, in collections.NotifierInput) (properties, secrets []byte, err error) {
	sent := provider.Input{Members: map[string]json.RawMessage{}, Files: map[string]provider.File{}, Form: in.Form, Force: in.Force}
	for _, m := range in.Members {
		sent.Members[m.Name] = m.Value
	}
	for _, f := range in.Files {
		sent.Files[f.Part] = provider.File{Name: f.Name, Content: f.Content}
	}
	if in.Stored != nil {
		if sent.Stored, err = push.Stored(in.Stored, in.StoredSecrets); err != nil {
			return nil, nil, err
		}
	}
	return p.Engine.CheckNotifier(ctx, sent)
}
