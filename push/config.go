package push

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/trellisdb/trellis/push/provider"
)

// Verify says what comes of a notifier whose service refuses its credentials.
type Verify string

// How the credentials of notifiers are tested.
const (
	VerifyStrict Verify = "strict" // a refusal by the service refuses the notifier
	VerifyWarn   Verify = "warn"   // the notifier is stored, and says so
	VerifyOff    Verify = "off"    // services are not asked
)

// Config is how the engine works. Begin with DefaultConfig.
type Config struct {
	Providers   provider.Set
	Verify      Verify
	AllReceipts bool // receipts of what was sent, even if a notification does not ask for them

	InFlight     map[string]int // messages of a notifier at a time, by provider
	NodeInFlight int            // of all notifiers together; two of each are beyond it
	Pools        int            // notifiers that are sent through at a time
	Settlers     int            // writes of a notifier at a time

	Pause        time.Duration // of a notifier whose credentials are refused
	RetryCap     time.Duration // between two attempts of a delivery, unless the service asks for more
	Page         int           // devices that a step of a task looks at
	VerifyWithin time.Duration // for a test of credentials
	Gather       time.Duration // how long an outcome waits for others that are written with it
	Watch        time.Duration // how often it is looked at which partitions are led
	Wait         time.Duration // after which the task of a notification first looks whether all is sent, if nobody wakes it; it doubles
	MaxWait      time.Duration
	Idle         time.Duration // after which the connections of a notifier are closed
	CloseWithin  time.Duration // what is in flight may take when the engine is closed
}

// DefaultConfig returns a working configuration, but for its Providers.
func DefaultConfig() Config {
	return Config{
		Verify:       VerifyWarn,
		InFlight:     map[string]int{provider.Apple: 100, provider.Google: 100, provider.Windows: 20, provider.WebPush: 20, provider.Noop: 100},
		NodeInFlight: 1000,
		Pools:        1000,
		Settlers:     4,
		Pause:        time.Minute,
		RetryCap:     5 * time.Minute,
		Page:         500,
		VerifyWithin: 10 * time.Second,
		Gather:       50 * time.Millisecond,
		Watch:        100 * time.Millisecond,
		Wait:         2 * time.Second,
		MaxWait:      time.Minute,
		Idle:         10 * time.Minute,
		CloseWithin:  3 * time.Second,
	}
}

func (c *Config) check(log *slog.Logger) error {
	switch {
	case len(c.Providers) == 0:
		return fmt.Errorf("push: no providers")
	case c.Verify != VerifyStrict && c.Verify != VerifyWarn && c.Verify != VerifyOff:
		return fmt.Errorf("push: credentials are tested %q, want strict, warn or off", c.Verify)
	case c.NodeInFlight < 1 || c.Pools < 1 || c.Settlers < 1:
		return fmt.Errorf("push: messages, notifiers and writes at a time must be positive")
	case c.Page < 1 || c.Page > maxPage:
		return fmt.Errorf("push: a step looks at %d devices, want 1 to %d", c.Page, maxPage)
	case c.Pause <= 0 || c.RetryCap <= 0 || c.VerifyWithin <= 0 || c.Gather <= 0 || c.Watch <= 0 || c.Wait <= 0 || c.MaxWait < c.Wait || c.Idle <= 0 || c.CloseWithin <= 0:
		return fmt.Errorf("push: times must be positive")
	case log == nil:
		return fmt.Errorf("push: no logger")
	}
	for name, n := range c.InFlight {
		if n < 1 || n > 10_000 {
			return fmt.Errorf("push: %d messages of a notifier of provider %s at a time, want 1 to 10000", n, name)
		}
	}
	return nil
}

// maxPage is below what a command may hold.
const maxPage = 1000

// defaultInFlight is the bound of a provider that has none.
const defaultInFlight = 20

func (c *Config) inFlight(kind string) int {
	if n := c.InFlight[kind]; n > 0 {
		return n
	}
	return defaultInFlight
}
