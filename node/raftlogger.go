package node

import (
	"context"
	"io"
	"log"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// raftLogger passes what hashicorp/raft logs on to slog, one level down: its
// Info tells of every election of every partition.
type raftLogger struct {
	hclog.Logger // answers what Raft asks but we do not care about
	log          *slog.Logger
}

func newRaftLogger(l *slog.Logger) hclog.Logger {
	return &raftLogger{Logger: hclog.NewNullLogger(), log: l.With("part", "raft")}
}

func (r *raftLogger) emit(level slog.Level, msg string, args []any) {
	r.log.Log(context.Background(), level, msg, args...)
}

func (r *raftLogger) Log(level hclog.Level, msg string, args ...any) {
	switch {
	case level >= hclog.Error:
		r.Error(msg, args...)
	case level >= hclog.Warn:
		r.Warn(msg, args...)
	default:
		r.Debug(msg, args...)
	}
}

func (r *raftLogger) Trace(string, ...any)          {}
func (r *raftLogger) Debug(msg string, args ...any) { r.emit(slog.LevelDebug, msg, args) }
func (r *raftLogger) Info(msg string, args ...any)  { r.emit(slog.LevelDebug, msg, args) }
func (r *raftLogger) Warn(msg string, args ...any)  { r.emit(slog.LevelDebug, msg, args) }
func (r *raftLogger) Error(msg string, args ...any) { r.emit(slog.LevelError, msg, args) }
func (r *raftLogger) IsError() bool                 { return true }
func (r *raftLogger) With(args ...any) hclog.Logger {
	return &raftLogger{r.Logger, r.log.With(args...)}
}
func (r *raftLogger) Named(string) hclog.Logger      { return r }
func (r *raftLogger) ResetNamed(string) hclog.Logger { return r }
func (r *raftLogger) StandardLogger(*hclog.StandardLoggerOptions) *log.Logger {
	return slog.NewLogLogger(r.log.Handler(), slog.LevelDebug)
}
func (r *raftLogger) StandardWriter(*hclog.StandardLoggerOptions) io.Writer { return io.Discard }
