package mail

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// Sender delivers mails. It is safe for concurrent use.
type Sender interface {
	// Send renders a message and gives each recipient a mail of their own. It ends
	// soon after ctx does. Nil: every mail was accepted. An *Undelivered says who
	// has none; any other error, a fault, says that the message cannot be sent
	// however often it is tried.
	Send(ctx context.Context, m *Message) error
}

// Undelivered is the error of a message that did not reach all of its recipients.
// All others have their mail.
type Undelivered struct {
	Failures []Failure // in the order of the recipients; at least one
}

// Failure says why a recipient has no mail.
type Failure struct {
	Recipient Recipient
	Permanent bool  // the server will not take a mail for this recipient, however often it is asked
	Cause     error // the recipient is masked in it
}

// Error counts, and tells the first failure, recipients masked.
func (u *Undelivered) Error() string {
	refused := 0
	for _, f := range u.Failures {
		if f.Permanent {
			refused++
		}
	}
	first := u.Failures[0]
	return fmt.Sprintf("%d mails not delivered, %d of them refused for good: %s: %v", len(u.Failures), refused, Mask(first.Recipient.Address), first.Cause)
}

// Unwrap returns the causes.
func (u *Undelivered) Unwrap() []error {
	causes := make([]error, 0, len(u.Failures))
	for _, f := range u.Failures {
		causes = append(causes, f.Cause)
	}
	return causes
}

// Rest returns what is left of m after Send has returned err: the same message for
// the recipients who may get their mail at another try, and false if there are none.
func Rest(m *Message, err error) (Message, bool) {
	var u *Undelivered
	if !errors.As(err, &u) {
		return Message{}, false
	}
	rest := *m
	rest.Recipients = nil
	for _, f := range u.Failures {
		if !f.Permanent {
			rest.Recipients = append(rest.Recipients, f.Recipient)
		}
	}
	return rest, len(rest.Recipients) > 0
}

// undelivered makes the error of failures; nil if there are none.
func undelivered(failures []Failure) error {
	if len(failures) == 0 {
		return nil
	}
	return &Undelivered{Failures: failures}
}

// Mask hides most of an address: d…@example.org. What is no address is hidden whole.
func Mask(address string) string {
	local, domain, ok := strings.Cut(address, "@")
	if !ok || local == "" {
		return "…"
	}
	for _, first := range local {
		return string(first) + "…@" + domain
	}
	return "…"
}

// mailID names the mail of a message to a recipient: always the same one.
func mailID(m *Message, r Recipient) string {
	sum := sha256.Sum256([]byte(r.Address))
	return m.ID.String() + "." + hex.EncodeToString(sum[:6])
}
