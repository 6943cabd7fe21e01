package provider

import (
	"context"
	"encoding/json"
	"time"

	"github.com/trellisdb/trellis/storage/entity"
)

// Names of the providers, as the property "provider" of a notifier has them.
const (
	Apple   = "apple"
	Google  = "google"
	Windows = "windows"
	WebPush = "webpush"
	Noop    = "noop"
)

// Provider is a kind of push service. It is safe for concurrent use.
type Provider interface {
	// Check completes n, which holds what is stored and what the client sent merged,
	// or says with a fault that a client can be shown what is wrong with it. It takes
	// the secrets from in, as Input.Secret does. It asks no service.
	Check(in *Input, n *Notifier) error

	// Translate makes of a payload, as it stands in a notification, what is sent
	// through n. Faults are IllegalArgument. It is pure, and reads no secret of n.
	Translate(n Notifier, payload json.RawMessage) (Payload, error)

	// Token reads what a device holds for a notifier; false: it is not registered.
	// It is pure. A token that the service could never know is one all the same, and
	// fails when something is sent to it.
	Token(value json.RawMessage) (Token, bool)

	// ValidToken says with an IllegalArgument what a device cannot be registered
	// with. Only web push refuses anything: other services' tokens have no form.
	ValidToken(value json.RawMessage) error

	// Open makes a sender of a notifier that Check has passed. It asks no service.
	// The caller ends it with Close.
	Open(n Notifier) (Sender, error)
}

// Sender sends through one notifier, as it was when it was opened. It is safe for
// concurrent use.
type Sender interface {
	// Send hands a message to the service and tells what became of it.
	Send(ctx context.Context, m Message) Result

	// Probe asks the service about the credentials, without sending anything to
	// anybody.
	Probe(ctx context.Context) Verdict

	// Close ends what runs, waits for it and closes the connections. Sends that it
	// ends are Retry with the code CodeClosed: the service may have their message. To
	// avoid it, wait for them first. Sends that begin later end so at once.
	Close()
}

// Batcher is a Sender that sends to many tokens at once.
type Batcher interface {
	Sender

	// MaxBatch is how many messages SendBatch takes; 1: it is no better than Send.
	MaxBatch() int

	// SendBatch hands messages to the service in one request and answers their
	// results in the same order. They have the payload, expiry and priority of the
	// first. Of several with one token one is sent; they share its result.
	SendBatch(ctx context.Context, messages []Message) []Result
}

// Payload is what Translate made. It is immutable. A sender takes those of its own
// provider only.
type Payload interface {
	// Receipt is the payload as a receipt shows it: a JSON object. It may not be
	// changed.
	Receipt() json.RawMessage
}

// Token is what a device is registered with.
type Token struct {
	Text  string // what a Message carries
	Shown string // what receipts show, and what is compared: of web push the endpoint
}

// Priority is what the client said of a notification.
type Priority int

// Priorities. A client that says nothing has PriorityUnset, which some services treat
// unlike normal.
const (
	PriorityUnset Priority = iota
	PriorityNormal
	PriorityHigh
)

// Message is one delivery: a payload for a device.
type Message struct {
	ID       entity.ID // always the same for a notification and a device: apns-id
	Token    string    // Token.Text
	Payload  Payload   // by the provider of the sender
	Expires  time.Time // the service need not try later; zero: nothing was said
	Priority Priority
	Attempt  int // from 1; of the delivery, on whatever node
	Accepted int // Result.Accepted of the attempt before, 0 at first or if it is not known
}

// State is what a probe found out.
type State int

// States of a Verdict.
const (
	Untested    State = iota // the service has no such test, or nothing can be concluded
	Verified                 // the service takes the credentials
	Rejected                 // the service has refused the credentials
	Unsupported              // nothing can be sent with such credentials here
)

// Verdict is the answer of a probe. Verified and Rejected are the word of the
// service; Unsupported is an opinion that must not keep a notifier from being stored.
// Untested with a message says why the service could not be asked.
type Verdict struct {
	State   State
	Code    string
	Message string // at most MaxMessageBytes
}
