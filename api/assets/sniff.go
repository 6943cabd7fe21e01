package assets

import (
	"mime"
	"path"
	"strings"

	"github.com/gabriel-vasile/mimetype"
)

// unknownType is the type of data of which nothing is known.
const unknownType = "application/octet-stream"

// TypeOf returns the media type of data, without parameters: as its first bytes show or,
// if they show nothing, as it was declared or as its file is called.
func TypeOf(head []byte, declared, filename string) string {
	if len(head) > 0 {
		if found := bareType(mimetype.Detect(head).String()); found != "" && found != unknownType {
			return found
		}
	}
	if t := bareType(declared); t != "" && !strings.HasPrefix(t, "multipart/") {
		return t
	}
	if t := bareType(mime.TypeByExtension(path.Ext(filename))); t != "" {
		return t
	}
	return unknownType
}

// bareType returns a media type without its parameters; empty if it is none.
func bareType(s string) string {
	t, _, err := mime.ParseMediaType(s)
	if err != nil || len(t) > 127 || strings.Count(t, "/") != 1 {
		return ""
	}
	return t
}
