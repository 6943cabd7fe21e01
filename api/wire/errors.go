package wire

import (
	"context"
	"errors"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// row is what one error code looks like to a client.
type row struct {
	status    int
	exception string // Java class that Usergrid printed; empty: none
	retry     int    // Retry-After in seconds; 0: none
}

const (
	persistence = "org.apache.usergrid.persistence.exceptions."
	services    = "org.apache.usergrid.services.exceptions."
	rest        = "org.apache.usergrid.rest.exceptions."
	security    = "org.apache.usergrid.rest.exceptions.SecurityException"
)

// rowOf is the error table (spec envelope-and-errors section 4.2). A code
// without a row answers as Uncaught; a test walks all codes.
func rowOf(code fault.Code) (row, bool) {
	switch code {
	case fault.IllegalArgument:
		return row{400, "java.lang.IllegalArgumentException", 0}, true
	case fault.JSONParse:
		return row{400, "com.fasterxml.jackson.core.JsonParseException", 0}, true
	case fault.JSONMapping:
		return row{400, "com.fasterxml.jackson.databind.JsonMappingException", 0}, true
	case fault.NullArgument:
		return row{400, "org.apache.commons.lang.NullArgumentException", 0}, true
	case fault.NotAcceptable:
		return row{406, "javax.ws.rs.NotAcceptableException", 0}, true
	case fault.NotSupported:
		return row{415, "javax.ws.rs.NotSupportedException", 0}, true
	case fault.RequestTooLarge:
		return row{413, rest + "RequestTooLargeException", 0}, true
	case fault.URITooLong:
		return row{414, rest + "UriTooLongException", 0}, true
	case fault.BadRequest:
		return row{400, "javax.ws.rs.BadRequestException", 0}, true
	case fault.NotFound:
		return row{404, "javax.ws.rs.NotFoundException", 0}, true
	case fault.NotAllowed:
		return row{405, "javax.ws.rs.NotAllowedException", 0}, true
	case fault.NotImplemented:
		return row{501, "org.apache.commons.lang.NotImplementedException", 0}, true
	case fault.QueryParse:
		return row{400, "org.apache.usergrid.persistence.index.exceptions.QueryParseException", 0}, true
	case fault.QueryToken:
		return row{400, "org.apache.usergrid.persistence.index.exceptions.QueryTokenException", 0}, true
	case fault.TooManyDirect:
		return row{400, "org.apache.usergrid.persistence.index.exceptions.TooManyDirectEntitiesException", 0}, true
	case fault.QueryTooCostly:
		return row{400, "org.apache.usergrid.persistence.index.exceptions.QueryAnalyzerException", 0}, true
	case fault.TooManyRequests:
		return row{429, rest + "TooManyRequestsException", 1}, true
	case fault.UnsupportedRest:
		return row{405, rest + "UnsupportedRestOperationException", 0}, true
	case fault.UnsupportedAction:
		return row{405, services + "UnsupportedServiceOperationException", 0}, true

	case fault.EntityNotFound:
		return row{404, persistence + "EntityNotFoundException", 0}, true
	case fault.ServiceResourceNotFound:
		return row{404, services + "ServiceResourceNotFoundException", 0}, true
	case fault.Duplicate:
		return row{400, persistence + "DuplicateUniquePropertyExistsException", 0}, true
	case fault.RequiredProperty:
		return row{400, persistence + "RequiredPropertyNotFoundException", 0}, true
	case fault.PropertyTypeConversion:
		return row{400, persistence + "PropertyTypeConversionException", 0}, true
	case fault.UnexpectedEntityType:
		return row{400, persistence + "UnexpectedEntityTypeException", 0}, true
	case fault.EntityTooLarge:
		return row{413, persistence + "EntityTooLargeException", 0}, true
	case fault.ForbiddenOperation:
		return row{403, services + "ForbiddenServiceOperationException", 0}, true

	case fault.OrganizationApplicationNotFound:
		return row{404, rest + "OrganizationApplicationNotFoundException", 0}, true
	case fault.Management:
		return row{400, "org.apache.usergrid.management.exceptions.ManagementException", 0}, true
	case fault.ApplicationExists:
		return row{409, persistence + "ApplicationAlreadyExistsException", 0}, true
	case fault.Conflict:
		return row{409, "org.apache.usergrid.exception.ConflictException", 0}, true
	case fault.UnableToLeave:
		return row{400, "org.apache.usergrid.management.exceptions.UnableToLeaveOrganizationException", 0}, true
	case fault.PasswordReused:
		return row{409, "org.apache.usergrid.management.exceptions.RecentlyUsedPasswordException", 0}, true

	case fault.Unauthorized, fault.ExpiredToken, fault.BadAccessToken, fault.AuthInvalid,
		fault.Authentication, fault.InvalidCredentials, fault.InvalidClient:
		return row{401, security, 0}, true
	case fault.InvalidGrant, fault.InvalidRequest:
		return row{400, security, 0}, true
	case fault.UnauthorizedClient:
		return row{403, security, 0}, true
	case fault.WrongPassword:
		return row{400, "org.apache.usergrid.management.exceptions.IncorrectPasswordException", 0}, true
	case fault.PasswordPolicy:
		return row{400, "", 0}, true

	case fault.Connection:
		return row{400, services + "notifications.ConnectionException", 0}, true

	case fault.NoQuorum, fault.NotHere, fault.Overloaded, fault.DiskFull, fault.Timeout, fault.Stopping:
		return row{503, rest + "ServiceUnavailableException", 1}, true
	case fault.Corrupt, fault.Uncaught:
		return row{500, "java.lang.RuntimeException", 0}, true
	}
	return row{}, false
}

// Status returns the HTTP status of an error code.
func Status(code fault.Code) int {
	r, ok := rowOf(code)
	if !ok {
		return 500
	}
	return r.status
}

// OAuthError is a failure of a token endpoint: its body is exactly error and
// error_description (spec envelope-and-errors section 3).
type OAuthError struct {
	Status      int
	Code        fault.Code
	Description string // may be empty
}

// Error renders the failure for the log.
func (e *OAuthError) Error() string { return string(e.Code) + ": " + e.Description }

// OAuth makes the failure of a token endpoint out of a fault, with the status
// of its code. Errors that are not about credentials or arguments stay what
// they are.
func OAuth(err error) error {
	var f *fault.Error
	if !errors.As(err, &f) {
		return err
	}
	if s := Status(f.Code); s < 500 {
		return &OAuthError{Status: s, Code: f.Code, Description: f.Message}
	}
	return err
}

// challenged is an error whose answer asks for Basic credentials.
type challenged struct{ error }

func (c challenged) Unwrap() error { return c.error }

// Challenge returns err such that its answer carries WWW-Authenticate (spec
// rows A8 and A12).
func Challenge(err error) error { return challenged{err} }

// problem is an error made ready to be written.
type problem struct {
	row
	code        fault.Code
	description string
	oauth       bool
	challenge   bool
	id          entity.ID // error_id; zero: none
}

// problemOf classifies err. What nobody classified, and what must not be
// shown, becomes Uncaught with an id, under which the caller logs the cause.
func problemOf(err error) problem {
	var p problem
	var c challenged
	p.challenge = errors.As(err, &c)
	var o *OAuthError
	if errors.As(err, &o) {
		p.row.status, p.code, p.description, p.oauth = o.Status, o.Code, o.Description, true
		return p
	}
	var f *fault.Error
	if errors.As(err, &f) {
		if r, ok := rowOf(f.Code); ok && r.status != 500 {
			p.row, p.code, p.description = r, f.Code, f.Message
			return p
		}
	} else if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		p.code, p.description = fault.Timeout, "the request took too long; what became of a write is unknown"
		p.row, _ = rowOf(p.code)
		return p
	}
	p.code, p.description, p.id = fault.Uncaught, "Internal error", entity.NewID()
	p.row, _ = rowOf(p.code)
	return p
}

// appendProblem appends the error envelope.
func appendProblem(dst []byte, p *problem, start, duration int64) []byte {
	dst = append(dst, `{"error":`...)
	dst = AppendString(dst, string(p.code))
	if !p.oauth {
		dst = appendInt(append(dst, `,"timestamp":`...), start)
		dst = appendInt(append(dst, `,"duration":`...), duration)
		if p.exception != "" {
			dst = AppendString(append(dst, `,"exception":`...), p.exception)
		}
	}
	if p.description != "" {
		dst = AppendString(append(dst, `,"error_description":`...), p.description)
	}
	if !p.id.IsZero() {
		dst = append(dst, `,"error_id":"`...)
		dst = append(p.id.AppendText(dst), '"')
	}
	return append(dst, '}')
}
