package provider

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/trellisdb/trellis/storage/fault"
)

// MaxSecretBytes bounds each secret of a notifier.
const MaxSecretBytes = 64 << 10

// secretNames are the properties that are stored encrypted and never shown, whichever
// provider a notifier is of.
var secretNames = []string{"p12Certificate", "certificatePassword", "authKey", "apiKey", "serviceAccount", "clientSecret", "vapidPrivateKey"}

// ownNames are the readable properties that belong to one provider or another, or are
// found out here.
var ownNames = []string{
	"environment", "certInfo", "keyId", "teamId", "bundleId", "topic", "projectId", "stringPayloadAs", "sid", "logging",
	"tenantId", "clientId", "vapidPublicKey", "subject", "defaultTtl", "verified", "verifyMessage",
}

// IsSecret tells whether a property of a notifier is a secret: encrypted where it is
// stored, and never shown, indexed or exported.
func IsSecret(property string) bool { return slices.Contains(secretNames, property) }

// Secrets are a notifier's, by property. Printed, they are their names.
type Secrets map[string]string

// Format prints the names only.
func (s Secrets) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, fmt.Sprint(slices.Sorted(maps.Keys(s))))
}

// LogValue is the names only.
func (s Secrets) LogValue() slog.Value { return slog.AnyValue(slices.Sorted(maps.Keys(s))) }

// MarshalJSON refuses: secrets are stored sealed, one by one, by who knows the key.
func (s Secrets) MarshalJSON() ([]byte, error) {
	return nil, fmt.Errorf("secrets of a notifier are not written as JSON")
}

// Notifier is what a notifier is made of: the properties that can be read, and the
// secrets. It is not changed once it is checked.
type Notifier struct {
	Properties map[string]json.RawMessage
	Secrets    Secrets
}

// Text returns a property that is a string; the empty one if it is absent or none.
func (n Notifier) Text(property string) string {
	text, _ := JSONText(n.Properties[property])
	return text
}

// Provider returns the name of the notifier's provider.
func (n Notifier) Provider() string { return n.Text("provider") }

// Set sets a readable property.
func (n Notifier) Set(property string, value any) {
	n.Properties[property] = Marshal(value)
}

// SetText sets a readable property, or removes it if text is empty.
func (n Notifier) SetText(property, text string) {
	if text == "" {
		delete(n.Properties, property)
		return
	}
	n.Properties[property] = Marshal(text)
}

// SetSecret sets a secret, or removes it if text is empty.
func (n Notifier) SetSecret(property, text string) {
	if text == "" {
		delete(n.Secrets, property)
		return
	}
	n.Secrets[property] = text
}

// File is a part of a multipart form that came with a file name.
type File struct {
	Name    string
	Content []byte
}

// Input is what a client sent to make or to change a notifier.
type Input struct {
	// Members of the JSON body, or the text parts of a form as JSON strings.
	Members map[string]json.RawMessage
	// Files of a form, by the name of their part.
	Files map[string]File
	// Form says that it was a multipart form.
	Form bool
	// Stored is the notifier that is changed; nil: it is made.
	Stored *Notifier
	// Force allows a change that cuts registered devices off.
	Force bool
}

// Has tells whether the client sent a value for a property: neither null nor an empty
// string.
func (in *Input) Has(property string) bool {
	if file, ok := in.Files[property]; ok && len(file.Content) > 0 {
		return true
	}
	value, ok := in.Members[property]
	if !ok || string(value) == "null" {
		return false
	}
	text, isText := JSONText(value)
	return !isText || strings.TrimSpace(text) != ""
}

// Text returns a property that must be a string: the one sent, trimmed, and empty if
// none or null was. A fault says that it is something else or longer than limit bytes.
func (in *Input) Text(property string, limit int) (string, error) {
	value, ok := in.Members[property]
	if !ok || string(value) == "null" {
		return "", nil
	}
	text, isText := JSONText(value)
	if !isText {
		return "", fault.New(fault.IllegalArgument, "%s must be a string", property)
	}
	text = strings.TrimSpace(text)
	if len(text) > limit {
		return "", fault.New(fault.IllegalArgument, "%s is longer than %d bytes", property, limit)
	}
	return text, nil
}

// Secret returns a secret: the one sent, as a string or a file, else the stored one,
// else none.
func (in *Input) Secret(property string) (string, error) {
	if file, ok := in.Files[property]; ok && len(file.Content) > 0 {
		if len(file.Content) > MaxSecretBytes {
			return "", fault.New(fault.IllegalArgument, "%s is longer than %d bytes", property, MaxSecretBytes)
		}
		return string(file.Content), nil
	}
	text, err := in.Text(property, MaxSecretBytes)
	if err != nil {
		return "", err
	}
	if text == "" && in.Stored != nil {
		text = in.Stored.Secrets[property]
	}
	return text, nil
}

// Bytes returns the bytes that a client sent for a property, as a file or as a string
// in base64, and the name of the file. None: nil.
func (in *Input) Bytes(property string) (content []byte, filename string, err error) {
	if file, ok := in.Files[property]; ok && len(file.Content) > 0 {
		if len(file.Content) > MaxSecretBytes {
			return nil, "", fault.New(fault.IllegalArgument, "%s is longer than %d bytes", property, MaxSecretBytes)
		}
		return file.Content, file.Name, nil
	}
	text, err := in.Text(property, MaxSecretBytes*4/3+4)
	if err != nil || text == "" {
		return nil, "", err
	}
	content, err = DecodeBase64(text)
	if err != nil {
		return nil, "", fault.New(fault.IllegalArgument, "%s is not base64", property)
	}
	return content, "", nil
}

// DecodeBase64 decodes base64 of either alphabet, padded or not, white space left out.
func DecodeBase64(text string) ([]byte, error) {
	text = strings.Map(func(r rune) rune {
		switch r {
		case ' ', '\n', '\r', '\t':
			return -1
		case '-':
			return '+'
		case '_':
			return '/'
		}
		return r
	}, text)
	return base64.RawStdEncoding.DecodeString(strings.TrimRight(text, "="))
}
