package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/trellisdb/trellis/bench/client"
)

// Names of the environment variables that carry the superuser to the server.
const (
	envName     = "TRELLIS_SUPERUSER_NAME"
	envPassword = "TRELLIS_SUPERUSER_PASSWORD"
)

// Config says how a server is started.
type Config struct {
	Binary    string
	DataDir   string
	Addr      string   // host:port of its HTTP front end
	Superuser string   // made known to the server through its environment
	Password  string   //
	Args      []string // added to the command line of "serve"
	LogFile   string   // takes what the server prints, appended
	Ready     time.Duration
	Env       []string       // added to its environment
	Wrap      []string       // command line put before the binary, which must replace itself by it
	Orphan    syscall.Signal // sent to the process when the harness dies; 0 is none
}

// Build compiles the server into dir and returns the path of the binary.
func Build(ctx context.Context, dir string) (string, error) { return build(ctx, dir) }

func build(ctx context.Context, dir string, flags ...string) (string, error) {
	binary := filepath.Join(dir, "trellis")
	args := append([]string{"build", "-o", binary}, flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, "./cmd/trellis")...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the server: %w: %s", err, out)
	}
	return binary, nil
}

// FreeAddr is a loopback address nothing listens on now.
func FreeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	addr := l.Addr().String()
	return addr, l.Close()
}

// Process is a running server. Its methods are for one goroutine.
type Process struct {
	cmd  *exec.Cmd
	addr string
	log  *os.File

	exited chan struct{} // closed when the process is gone
	err    error         // of Wait; read after exited
}

// ErrExited marks a server that ended before it was ready.
var ErrExited = errors.New("server ended before it was ready")

// Start runs "serve" and waits until GET /status answers 200. A server that is
// not ready in time is killed.
func Start(ctx context.Context, cfg Config) (*Process, error) {
	p, err := Launch(cfg)
	if err != nil {
		return nil, err
	}
	if err := p.WaitReady(ctx, cfg.Ready); err != nil {
		return nil, errors.Join(fmt.Errorf("wait for %s: %w", cfg.Addr, err), p.Kill())
	}
	return p, nil
}

// Launch runs "serve" and does not wait.
func Launch(cfg Config) (*Process, error) {
	logFile, err := os.OpenFile(cfg.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the server's log: %w", err)
	}
	args := append([]string{"serve", "--data-dir", cfg.DataDir, "--http-addr", cfg.Addr}, cfg.Args...)
	args = append(append(slices.Clone(cfg.Wrap), cfg.Binary), args...)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = logFile, logFile
	cmd.Env = append(os.Environ(), envName+"="+cfg.Superuser, envPassword+"="+cfg.Password)
	cmd.Env = append(cmd.Env, cfg.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: cfg.Orphan} // an interrupt of the terminal is for the harness alone
	p, err := start(cmd, cfg.Addr, logFile)
	if err != nil {
		return nil, fmt.Errorf("start the server: %w", err)
	}
	return p, nil
}

func start(cmd *exec.Cmd, addr string, logFile *os.File) (*Process, error) {
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, logFile.Close())
	}
	p := &Process{cmd: cmd, addr: addr, log: logFile, exited: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

// WaitReady waits until GET /status answers 200, at most limit.
func (p *Process) WaitReady(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	c := client.NewConn(p.addr, time.Second)
	defer c.Close() //nolint:errcheck // nothing is pending on it
	request := client.AppendRequest(nil, "GET", "/status", p.addr, "", nil)
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for {
		if status, _, err := c.Do(request); err == nil && status == 200 {
			return nil
		}
		select {
		case <-p.exited:
			return fmt.Errorf("%w: %w", ErrExited, p.exit())
		case <-ctx.Done():
			return fmt.Errorf("not ready after %s: %w", limit, ctx.Err())
		case <-poll.C:
		}
	}
}

// exit describes how the process ended.
func (p *Process) exit() error {
	if p.err == nil {
		return errors.New("exit status 0")
	}
	return p.err
}

// PID is the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Addr is where the server listens.
func (p *Process) Addr() string { return p.addr }

// Exited tells whether the process has ended by itself or by a signal.
func (p *Process) Exited() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// Kill ends the process as a crash would (SIGKILL) and waits until it is gone.
func (p *Process) Kill() error {
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill the server: %w", err)
	}
	<-p.exited
	return p.closeLog()
}

// Pause stops the process where it is (SIGSTOP) until Resume.
func (p *Process) Pause() error { return p.signal(syscall.SIGSTOP) }

// Resume lets a paused process go on (SIGCONT).
func (p *Process) Resume() error { return p.signal(syscall.SIGCONT) }

func (p *Process) signal(s syscall.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %s to the server: %w", s, err)
	}
	return nil
}

// Stop asks the process to end (SIGTERM) and waits; after limit it is killed,
// which is an error, as is any exit status but 0.
func (p *Process) Stop(limit time.Duration) error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop the server: %w", err)
	}
	timeout := time.NewTimer(limit)
	defer timeout.Stop()
	select {
	case <-p.exited:
		if p.err != nil {
			return errors.Join(fmt.Errorf("the server ended badly after SIGTERM: %w", p.err), p.closeLog())
		}
		return p.closeLog()
	case <-timeout.C:
		return errors.Join(fmt.Errorf("the server did not end within %s of SIGTERM", limit), p.Kill())
	}
}

func (p *Process) closeLog() error {
	if p.log == nil {
		return nil
	}
	err := p.log.Close()
	p.log = nil
	return err
}
