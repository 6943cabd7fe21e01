package provider

import (
	"net/http"
	"strings"
	"time"
	"unicode/utf8"
)

// MaxMessageBytes bounds Result.Message.
const MaxMessageBytes = 1 << 10

// maxRetryAfter bounds what a service may ask for.
const maxRetryAfter = 24 * time.Hour

// Outcome says what to do with a delivery.
type Outcome int

// Outcomes.
const (
	// Sent: the service has taken the message.
	Sent Outcome = iota
	// Failed: it will not, however often it is asked.
	Failed
	// Retry: it may take the same message later.
	Retry
	// Blocked: it refuses the notifier's credentials. Nothing is known about the
	// message, nor does any other message through the notifier fare better: pause it.
	Blocked
)

// String names the outcome.
func (o Outcome) String() string {
	switch o {
	case Sent:
		return "sent"
	case Failed:
		return "failed"
	case Retry:
		return "retry"
	case Blocked:
		return "blocked"
	}
	return "unknown"
}

// Level says what a failure is about.
type Level int

// Levels.
const (
	// TokenLevel: the message or the device.
	TokenLevel Level = iota
	// NotifierLevel: the notifier or the service. Other messages through the notifier
	// will probably fare alike; a notification of which all failures are of this level
	// has failed as a whole.
	NotifierLevel
)

// Codes of results that no service gave. All others are the service's own.
const (
	CodeClosed      = "Closed"           // the sender was closed meanwhile
	CodeCanceled    = "Canceled"         // the caller has left
	CodeTimeout     = "Timeout"          // the service did not answer in time
	CodeUnreachable = "Unreachable"      // no connection, or it broke
	CodeForbidden   = "ForbiddenAddress" // an address that must not be reached
	CodeBadAnswer   = "UnexpectedAnswer" // nobody can make sense of the answer
	CodeBadPayload  = "InvalidPayload"   // the payload cannot be sent through the notifier
	CodeLegacy      = "LegacyCredentialsUnsupported"
	CodeBadToken    = "InvalidToken" // the service could never know such a token
)

// Result is what became of a message. The zero value is a message sent.
type Result struct {
	Outcome Outcome
	Level   Level

	// Code is the errorCode of a receipt: the service's name of the reason, or one of
	// the Code constants. Empty when sent.
	Code string
	// Message is the errorMessage: text of at most MaxMessageBytes.
	Message string

	// RetryAfter is how long the service asked to wait; 0: it said nothing.
	RetryAfter time.Duration
	// Backoff is the first wait of a series that doubles, where the service said
	// nothing; 0: the caller's own.
	Backoff time.Duration
	// SlowDown says that the service finds the notifier too fast as a whole.
	SlowDown bool

	// Gone says that the token is dead: it should be taken off every device, save
	// those that got it after GoneSince, if that is not zero.
	Gone      bool
	GoneSince time.Time
	// NewToken replaces the token that was used. The message was sent.
	NewToken string

	// ProviderID is the service's name of the message, of at most 256 bytes, if it
	// gave one.
	ProviderID string
	// Accepted is how many parts of a message of several the service has taken; the
	// next attempt leaves them out if Message.Accepted says so.
	Accepted int
}

// Fail makes a failure that is about the message or the device.
func Fail(code, message string) Result {
	return Result{Outcome: Failed, Code: code, Message: Clip(message)}
}

// FailNotifier makes a failure that is about the notifier.
func FailNotifier(code, message string) Result {
	return Result{Outcome: Failed, Level: NotifierLevel, Code: code, Message: Clip(message)}
}

// Block makes a refusal of the notifier's credentials.
func Block(code, message string) Result {
	return Result{Outcome: Blocked, Level: NotifierLevel, Code: code, Message: Clip(message)}
}

// Again makes a failure that may pass, at the level it is about.
func Again(level Level, code, message string) Result {
	return Result{Outcome: Retry, Level: level, Code: code, Message: Clip(message)}
}

// Dead makes a failure of a token that is no more; since may be zero.
func Dead(code, message string, since time.Time) Result {
	return Result{Outcome: Failed, Code: code, Message: Clip(message), Gone: true, GoneSince: since}
}

// Clip makes text fit for a Result: valid, without control characters, and of at most
// MaxMessageBytes.
func Clip(text string) string { return clip(text, MaxMessageBytes) }

// ClipID makes a service's name of a message fit for a Result.
func ClipID(text string) string { return clip(text, 256) }

func clip(text string, limit int) string {
	if len(text) > 4*limit { // do not clean what is cut anyway
		text = text[:4*limit]
	}
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return ' '
		}
		return r
	}, text)
	text = strings.TrimSpace(text)
	if len(text) <= limit {
		return text
	}
	end := limit
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return strings.TrimSpace(text[:end])
}

// Scrub takes secrets out of what a result says, should a service have repeated them.
func (r Result) Scrub(secrets ...string) Result {
	for _, s := range secrets {
		if len(s) > 3 {
			r.Message = strings.ReplaceAll(r.Message, s, "…")
			r.Code = strings.ReplaceAll(r.Code, s, "…")
		}
	}
	r.Message = Clip(r.Message)
	return r
}

// RetryAfter reads the header of that name: seconds or a date; 0 if it is absent or
// makes no sense.
func RetryAfter(h http.Header, now time.Time) time.Duration {
	text := h.Get("Retry-After")
	if text == "" {
		return 0
	}
	var wait time.Duration
	if seconds, ok := digits(text); ok {
		wait = min(time.Duration(seconds), maxRetryAfter/time.Second) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		wait = at.Sub(now)
	}
	return min(max(wait, 0), maxRetryAfter)
}

// digits reads a number of digits, as far as it matters.
func digits(text string) (int64, bool) {
	var n int64
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return 0, false
		}
		n = min(n*10+int64(text[i]-'0'), 1<<40)
	}
	return n, text != ""
}
