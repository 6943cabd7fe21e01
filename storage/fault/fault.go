// Package fault is the one shape in which errors cross package borders.
//
// A fault has a code, which is what programs branch on and what clients see as
// the envelope's "error"; a message that is safe to show to any client; and an
// optional cause, which is for the log and never leaves the node. Codes are
// data: they survive a hop to another node and the dedup window.
//
// The package knows nothing of HTTP: api/wire gives each code its status.
package fault

import (
	"errors"
	"fmt"
)

// Code is a stable snake_case name of a kind of error, as spec
// envelope-and-errors section 4.2 lists them.
type Code string

// Codes a client can meet. The comment says when, not how it is answered.
const (
	// Requests and bodies.
	IllegalArgument   Code = "illegal_argument"
	JSONParse         Code = "json_parse"
	JSONMapping       Code = "json_mapping"
	NullArgument      Code = "null_argument"
	NotSupported      Code = "not_supported"     // content type no handler takes
	NotAcceptable     Code = "not_acceptable"    // no representation that the client takes
	RequestTooLarge   Code = "request_too_large" // body over the limit
	URITooLong        Code = "uri_too_long"      // request line or headers over the limit
	BadRequest        Code = "bad_request"       // not HTTP, or framed ambiguously
	NotFound          Code = "not_found"         // no such route
	NotAllowed        Code = "not_allowed"       // route has no such method
	NotImplemented    Code = "not_implemented"   // named by the API, not offered by this version
	QueryParse        Code = "query_parse"       // query text breaks the grammar
	QueryToken        Code = "query_token"       // query text holds a character or string that is no token
	TooManyDirect     Code = "too_many_direct_entities"
	QueryTooCostly    Code = "query_too_costly"  // a query would look at more keys than it may
	TooManyRequests   Code = "too_many_requests" // throttled
	UnsupportedRest   Code = "unsupported_rest_operation"
	UnsupportedAction Code = "unsupported_service_operation"

	// Entities.
	EntityNotFound          Code = "entity_not_found"
	ServiceResourceNotFound Code = "service_resource_not_found"
	Duplicate               Code = "duplicate_unique_property_exists"
	RequiredProperty        Code = "required_property_not_found"
	PropertyTypeConversion  Code = "property_type_conversion"
	UnexpectedEntityType    Code = "unexpected_entity_type"
	EntityTooLarge          Code = "entity_too_large"
	ForbiddenOperation      Code = "forbidden_service_operation"

	// Push services.
	Connection Code = "connection" // a service refuses the credentials of a notifier

	// Organisations and applications.
	OrganizationApplicationNotFound Code = "organization_application_not_found"
	Management                      Code = "management"
	ApplicationExists               Code = "application_already_exists"
	Conflict                        Code = "conflict"
	UnableToLeave                   Code = "unable_to_leave_organization" // the last member

	// Credentials.
	Unauthorized       Code = "unauthorized"
	ExpiredToken       Code = "expired_token"
	BadAccessToken     Code = "auth_bad_access_token"
	AuthInvalid        Code = "auth_invalid"
	Authentication     Code = "authentication" // principal deactivated or disabled
	InvalidCredentials Code = "auth_invalid_credentials"
	InvalidClient      Code = "invalid_client"
	InvalidGrant       Code = "invalid_grant"
	InvalidRequest     Code = "invalid_request"
	UnauthorizedClient Code = "unauthorized_client"
	WrongPassword      Code = "auth_invalid_username_or_password"
	PasswordPolicy     Code = "error_password_policy_violation"
	PasswordReused     Code = "recently_used_password"

	// The node.
	NoQuorum   Code = "no_quorum"  // no leader or no majority; the outcome of a write may be unknown
	Overloaded Code = "overloaded" // a bounded queue is full; nothing was done
	DiskFull   Code = "disk_full"  // a disk has no room for writes; nothing was done
	Timeout    Code = "timeout"    // the deadline passed; the outcome of a write is unknown
	NotHere    Code = "not_here"   // this node has no replica of the partition; nothing was done
	Stopping   Code = "stopping"   // the node is shutting down; nothing was done
	Corrupt    Code = "corrupt"    // stored bytes are not what was written
	Uncaught   Code = "uncaught"   // nobody classified it
)

// Error is a classified error. It is immutable and safe for concurrent use.
type Error struct {
	Code    Code
	Message string // safe to show to any client
	Cause   error  // for the log; never leaves the node
}

// Error renders code, message and cause for the log.
func (e *Error) Error() string {
	if e.Cause != nil {
		return fmt.Sprintf("%s: %s: %v", e.Code, e.Message, e.Cause)
	}
	return string(e.Code) + ": " + e.Message
}

// Unwrap returns the cause, which may be nil.
func (e *Error) Unwrap() error { return e.Cause }

// New makes a fault with a formatted message and no cause.
func New(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Wrap makes a fault around cause.
func Wrap(cause error, code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), Cause: cause}
}

// CodeOf returns the code of the outermost fault in err's chain: Uncaught if
// there is none, and the empty code for a nil error.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	var f *Error
	if errors.As(err, &f) {
		return f.Code
	}
	return Uncaught
}

// Is reports whether err carries code.
func Is(err error, code Code) bool { return err != nil && CodeOf(err) == code }
