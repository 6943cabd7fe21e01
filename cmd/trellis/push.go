package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"reflect"

	"github.com/trellisdb/trellis/api/collections"
	"github.com/trellisdb/trellis/api/directory"
	"github.com/trellisdb/trellis/node"
	"github.com/trellisdb/trellis/push"
	"github.com/trellisdb/trellis/push/provider"
	"github.com/trellisdb/trellis/push/providers"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
)

// pushConfig is what serve can be told of push notifications. It has no flags: the
// environment and the file say it.
type pushConfig struct {
	Verify       string `koanf:"push-verify"`
	Receipts     string `koanf:"push-receipts"`
	UniqueTokens bool   `koanf:"push-unique-tokens"`

	InFlight        int `koanf:"push-in-flight"`
	InFlightApple   int `koanf:"push-workers-apple"`
	InFlightGoogle  int `koanf:"push-workers-google"`
	InFlightWindows int `koanf:"push-workers-windows"`
	InFlightWebPush int `koanf:"push-workers-webpush"`
	InFlightNoop    int `koanf:"push-workers-noop"`

	APNSProduction  string   `koanf:"push-apns-production"`
	APNSDevelopment string   `koanf:"push-apns-development"`
	APNSMaxPayload  int      `koanf:"push-apns-max-payload"`
	APNSClearBad    bool     `koanf:"push-apns-clear-bad-tokens"`
	FCM             string   `koanf:"push-fcm-endpoint"`
	FCMToken        string   `koanf:"push-fcm-token-endpoint"`
	GCM             string   `koanf:"push-gcm-endpoint"`
	WNSToken        string   `koanf:"push-wns-token-endpoint"`
	WNSHosts        []string `koanf:"push-wns-hosts"`
	AllowPrivate    bool     `koanf:"push-webpush-allow-private"`
	CAFile          string   `koanf:"push-ca-file"`
}

func defaultPush() pushConfig {
	c, p := push.DefaultConfig(), provider.DefaultConfig()
	return pushConfig{
		Verify: string(c.Verify), Receipts: receiptsOfErrors, InFlight: c.NodeInFlight,
		InFlightApple: c.InFlight[provider.Apple], InFlightGoogle: c.InFlight[provider.Google], InFlightWindows: c.InFlight[provider.Windows],
		InFlightWebPush: c.InFlight[provider.WebPush], InFlightNoop: c.InFlight[provider.Noop],
		APNSProduction: p.APNSProduction, APNSDevelopment: p.APNSDevelopment, APNSMaxPayload: p.APNSMaxPayload, FCM: p.FCM, WNSHosts: p.WNSHosts,
	}
}

// Of which deliveries receipts are written.
const (
	receiptsOfErrors = "errors"
	receiptsOfAll    = "all"
)

// keys returns the names of the keys, and of those that are lists.
func (pushConfig) keys() (all, lists []string) { return keysOf(reflect.TypeFor[pushConfig]()) }

// services is the configuration of the clients of the services.
func (c *pushConfig) services() (provider.Config, error) {
	p := provider.DefaultConfig()
	p.APNSProduction, p.APNSDevelopment = c.APNSProduction, c.APNSDevelopment
	p.APNSMaxPayload, p.APNSClearBadTokens = c.APNSMaxPayload, c.APNSClearBad
	p.FCM, p.FCMToken, p.GCM = c.FCM, c.FCMToken, c.GCM
	p.WNSToken, p.WNSHosts, p.AllowPrivate = c.WNSToken, c.WNSHosts, c.AllowPrivate
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return p, fmt.Errorf("push-ca-file: %w", err)
		}
		p.RootCAs = x509.NewCertPool()
		if !p.RootCAs.AppendCertsFromPEM(pem) {
			return p, fmt.Errorf("push-ca-file %s: no certificate in it", c.CAFile)
		}
	}
	return p, p.Check()
}

// engine is the configuration of the engine.
func (c *pushConfig) engine() (push.Config, error) {
	pc := push.DefaultConfig()
	if c.Receipts != receiptsOfErrors && c.Receipts != receiptsOfAll {
		return pc, fmt.Errorf("push-receipts is %q, want errors or all", c.Receipts)
	}
	pc.Verify, pc.AllReceipts, pc.NodeInFlight = push.Verify(c.Verify), c.Receipts == receiptsOfAll, c.InFlight
	pc.InFlight = map[string]int{
		provider.Apple: c.InFlightApple, provider.Google: c.InFlightGoogle, provider.Windows: c.InFlightWindows,
		provider.WebPush: c.InFlightWebPush, provider.Noop: c.InFlightNoop,
	}
	services, err := c.services()
	if err == nil {
		pc.Providers, err = providers.New(services)
	}
	return pc, err
}

// start starts the engine.
func (c *pushConfig) start(n *node.Node, targets push.Targets, secrets *directory.Directory, log *slog.Logger) (*push.Engine, error) {
	pc, err := c.engine()
	if err != nil {
		return nil, err
	}
	return push.Start(pc, pushHost{n}, targets, secrets, log)
}

// pushHost is the node as the engine sees it.
type pushHost struct{ *node.Node }

// View implements push.Host: what is applied here is enough, for the engine looks again.
func (h pushHost) View(p entity.Partition) (*storage.View, error) { return h.Applied(p) }

// pusher is the engine as the API sees it.
type pusher struct{ *push.Engine }

// CheckNotifier implements collections.Push.
func (p pusher) CheckNotifier(ctx context.Context, in collections.NotifierInput) (properties, secrets []byte, err error) {
	sent := provider.Input{Members: map[string]json.RawMessage{}, Files: map[string]provider.File{}, Form: in.Form, Force: in.Force}
	for i := range in.Members {
		sent.Members[in.Members[i].Name] = in.Members[i].Value
	}
	for i := range in.Files {
		sent.Files[in.Files[i].Part] = provider.File{Name: in.Files[i].Name, Content: in.Files[i].Content}
	}
	if in.Stored != nil {
		if sent.Stored, err = push.Stored(in.Stored, in.StoredSecrets); err != nil {
			return nil, nil, err
		}
	}
	return p.Engine.CheckNotifier(ctx, sent)
}
