package apitest

import (
	"context"

	"github.com/trellisdb/trellis/api/portage"
	"github.com/trellisdb/trellis/node/tasks"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// carrier makes what runs exports and imports.
func (s *Server) carrier(cluster portage.Cluster, dir portage.Directory, opts *Options) *portage.Handlers {
	pc := portage.DefaultConfig()
	if opts.Portage != nil {
		opts.Portage(&pc)
	}
	h := portage.New(pc, cluster, dir, s.Assets)
	s.jobs.Store(h)
	s.onClose(func() error { h.Close(); return nil })
	return h
}

// jobKinds are the kinds of tasks of exports and imports.
func (s *Server) jobKinds() []tasks.Kind {
	run := func(step func(*portage.Handlers, context.Context, *entity.Task, portage.Host) (portage.Step, error)) tasks.Handler {
		return func(ctx context.Context, job *tasks.Job) (tasks.Step, error) {
			h := s.jobs.Load()
			if h == nil {
				return tasks.Step{}, fault.New(fault.Stopping, "the node is starting")
			}
			st, err := step(h, ctx, &job.Task, job)
			return tasks.Step{Effect: st.Effect, Finish: st.Finish, Done: st.Done, Body: st.Body}, err
		}
	}
	return []tasks.Kind{
		{Name: entity.TaskImport, Run: run((*portage.Handlers).ImportStep)},
		{Name: entity.TaskExport, Run: run((*portage.Handlers).ExportStep)},
	}
}
