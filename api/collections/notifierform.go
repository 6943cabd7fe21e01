package collections

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"strings"
	"unicode/utf8"

	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// Bounds of what makes a notifier.
const (
	maxNotifier      = 1 << 20 // bytes of its body
	maxNotifierParts = 64      // members, or parts of a form
)

// notifierInput reads the body that makes or changes a notifier.
func (c *call) notifierInput() (in NotifierInput, err error) {
	kind, err := c.req.Kind()
	if err != nil {
		return in, err
	}
	body, err := c.req.Body()
	switch {
	case err != nil:
		return in, err
	case len(body) > maxNotifier:
		return in, fault.New(fault.EntityTooLarge, "a notifier is larger than %d bytes", maxNotifier)
	case kind == wire.MultipartBody:
		return formInput(c.req.Header("Content-Type"), body)
	}
	text, err := c.req.JSON()
	switch {
	case err != nil:
		return in, err
	case text == nil:
		text = []byte("{}")
	case text[skipSpace(text, 0)] != '{':
		return in, fault.New(fault.JSONMapping, "body must be a JSON object")
	}
	err = eachMember(text, func(m member) error {
		value, err := appendValue(nil, m.value, "")
		if err != nil {
			return err
		}
		return in.add(m.key, value)
	})
	return in, err
}

// add takes a member; of several of one name the last one counts.
func (in *NotifierInput) add(name string, value []byte) error {
	for _, secret := range notifierSecrets {
		if keys.SameFold(secret, name) {
			name = secret // in any case it is one
		}
	}
	for i := range in.Members {
		if keys.SameFold(in.Members[i].Name, name) {
			in.Members[i].Value = value
			return nil
		}
	}
	if len(in.Members) == maxNotifierParts {
		return fault.New(fault.IllegalArgument, "a notifier has at most %d properties", maxNotifierParts)
	}
	in.Members = append(in.Members, NotifierMember{Name: name, Value: value})
	return nil
}

// formInput reads a multipart form: what came with a file name is a file, the rest is
// text.
func formInput(contentType string, body []byte) (NotifierInput, error) {
	in := NotifierInput{Form: true}
	_, parameters, err := mime.ParseMediaType(contentType)
	if err != nil || parameters["boundary"] == "" {
		return in, fault.New(fault.BadRequest, "the form has no boundary")
	}
	reader := multipart.NewReader(bytes.NewReader(body), parameters["boundary"])
	for parts := 0; ; parts++ {
		part, err := reader.NextPart()
		switch {
		case errors.Is(err, io.EOF) && errors.Unwrap(err) == nil: // one that ends too early wraps it
			return in, nil
		case err != nil:
			return in, fault.Wrap(err, fault.BadRequest, "the form cannot be read")
		case parts == maxNotifierParts:
			return in, fault.New(fault.IllegalArgument, "a notifier has at most %d properties", maxNotifierParts)
		}
		content, err := io.ReadAll(part)
		if err != nil {
			return in, fault.Wrap(err, fault.BadRequest, "the form cannot be read")
		}
		name := part.FormName()
		switch {
		case name == "":
			continue
		case part.FileName() != "":
			in.Files = append(in.Files, NotifierFile{Part: name, Name: strings.ToValidUTF8(part.FileName(), "\ufffd"), Content: content})
			continue
		case !utf8.ValidString(name) || !utf8.Valid(content):
			return in, fault.New(fault.IllegalArgument, "a part of the form is not UTF-8")
		}
		if err := in.add(name, wire.AppendString(nil, strings.TrimSpace(string(content)))); err != nil {
			return in, err
		}
	}
}
