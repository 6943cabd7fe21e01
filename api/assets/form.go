package assets

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"strings"
	"unicode/utf8"

	"github.com/trellisdb/trellis/storage/fault"
)

// Bounds of a form.
const (
	maxParts        = 1000
	maxPartHead     = 16 << 10 // from the end of one part to the content of the next
	maxPropertyName = 1 << 10
	// MaxFormProperties is how many bytes the properties of a form may have in all.
	MaxFormProperties = 1 << 20
)

// filePart is the name of the part that carries the data.
const filePart = "file"

// Form is what a form with a file says besides the file.
type Form struct {
	Properties []FormProperty // in their order; of those with one name the last one counts
	HasFile    bool
	FileName   string // as the client calls the file
	FileType   string // as the client declares it, without parameters
	FileIsText bool   // declared as plain text, or not at all and without a file name
}

// FormProperty is a part that is no file. Both are valid UTF-8.
type FormProperty struct{ Name, Value string }

// ReadForm reads a multipart form to its end. The content of the part called "file" goes
// to take, which reads it to its end; that of other parts, if they are plain text, is a
// property, and the rest is thrown away. Faults: BadRequest, IllegalArgument,
// EntityTooLarge; errors of src and take as they are.
func ReadForm(src io.Reader, boundary string, take func(content io.Reader) error) (*Form, error) {
	if boundary == "" || len(boundary) > 70 {
		return nil, fault.New(fault.BadRequest, "the form has no boundary")
	}
	gate := &gate{src: src}
	reader := multipart.NewReader(gate, boundary)
	form, room := &Form{}, MaxFormProperties
	for parts := 0; ; parts++ {
		gate.limit(maxPartHead)
		part, err := reader.NextPart()
		gate.open()
		switch {
		case errors.Is(err, io.EOF) && errors.Unwrap(err) == nil: // a form that ends too early wraps it
			return form, nil
		case err != nil:
			return nil, gate.failure(err)
		case parts == maxParts:
			return nil, fault.New(fault.IllegalArgument, "a form has at most %d parts", maxParts)
		}
		if err := form.read(part, &room, take); err != nil {
			return nil, gate.failure(err)
		}
		// What is left of a part is read here, so that the gate sees heads alone.
		if _, err := io.Copy(io.Discard, part); err != nil {
			return nil, gate.failure(err)
		}
	}
}

// read takes one part.
func (f *Form) read(part *multipart.Part, room *int, take func(io.Reader) error) error {
	name, declared := part.FormName(), bareType(part.Header.Get("Content-Type"))
	text := declared == "text/plain" || part.Header.Get("Content-Type") == "" && part.FileName() == ""
	switch {
	case name == filePart && !f.HasFile:
		f.HasFile, f.FileName, f.FileType, f.FileIsText = true, part.FileName(), declared, text
		return taken(take(part))
	case name == "" || name == filePart || !text:
		return nil
	case len(name) > maxPropertyName:
		return fault.New(fault.IllegalArgument, "the name of a property is longer than %d bytes", maxPropertyName)
	}
	var value bytes.Buffer
	n, err := io.Copy(&value, io.LimitReader(part, int64(*room)+1))
	if err != nil {
		return err
	}
	if *room -= int(n) + len(name); *room < 0 {
		return fault.New(fault.EntityTooLarge, "the properties of a form are larger than %d bytes", MaxFormProperties)
	}
	if !utf8.ValidString(name) || !utf8.Valid(value.Bytes()) {
		return fault.New(fault.IllegalArgument, "property %q of the form is not UTF-8", strings.ToValidUTF8(name, "\ufffd"))
	}
	f.Properties = append(f.Properties, FormProperty{name, value.String()})
	return nil
}

// errTaking marks an error of whoever takes a file that has nothing to do with what is
// read.
var errTaking = errors.New("take a file")

func taken(err error) error {
	var a arriving
	if err == nil || errors.As(err, &a) {
		return err
	}
	return fmt.Errorf("%w: %w", errTaking, err)
}

// gate bounds how much is read at a time, where the reader of forms would take ten
// megabytes for the head of a part.
type gate struct {
	src  io.Reader
	left int // bytes; less than 0: any number
	err  error
}

var errHead = errors.New("head of a part of a form is too long")

func (g *gate) limit(n int) { g.left = n }
func (g *gate) open()       { g.left = -1 }

// Read implements io.Reader.
func (g *gate) Read(p []byte) (int, error) {
	if g.left == 0 {
		return 0, errHead
	}
	if g.left > 0 && len(p) > g.left {
		p = p[:g.left]
	}
	n, err := g.src.Read(p)
	if g.left > 0 {
		g.left -= n
	}
	if err != nil && !errors.Is(err, io.EOF) {
		g.err = err
	}
	return n, err
}

// failure says whose mistake an error is: that of the source, of whoever took a file, or
// of the form.
func (g *gate) failure(err error) error {
	var f *fault.Error
	if g.err != nil {
		return g.err
	}
	if errors.As(err, &f) || errors.Is(err, errTaking) {
		return err
	}
	return fault.Wrap(err, fault.BadRequest, "the form cannot be read")
}
