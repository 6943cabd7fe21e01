package node

import (
	"context"
	"io"
	"log"
	"log/slog"
	"strings"

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

// severity of what the library calls an error. That another node cannot be
// reached, or this one not accept, is not for a person to mend: the metrics
// tell, and it is said again at every heartbeat.
func severity(msg string) slog.Level {
	for _, begin := range []string{
		"failed to make requestVote RPC", "failed to make requestPreVote RPC", "failed to heartbeat to", "failed to appendEntries to",
		"failed to pipeline appendEntries", "failed to start pipeline replication", "failed to accept connection",
		"failed to decode incoming command", "failed to flush response", "failed to send snapshot to", "failed to copy snapshot", "failed to receive whole snapshot", "failed to install snapshot",
		"peer has newer term", "aborting pipeline replication", "failed to get previous log",
	} {
		if strings.HasPrefix(msg, begin) {
			return slog.LevelDebug
		}
	}
	return slog.LevelError
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
func (r *raftLogger) Error(msg string, args ...any) { r.emit(severity(msg), msg, args) }
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
