package pages

import (
	"strings"
	"unicode/utf8"
)

// MaskEmail shows enough of an address for its owner to know it, and too
// little for others to learn it: d***@e***.org of dana@example.org. It tells
// no lengths. A text without @ is masked like a local part.
func MaskEmail(address string) string {
	if address == "" {
		return ""
	}
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return maskWord(address)
	}
	domain := address[at+1:]
	end := ""
	if dot := strings.LastIndexByte(domain, '.'); dot >= 0 {
		domain, end = domain[:dot], domain[dot:]
	}
	return maskWord(address[:at]) + "@" + maskWord(domain) + end
}

// maskWord keeps the first character, unless it is the only one.
func maskWord(word string) string {
	if r, size := utf8.DecodeRuneInString(word); size < len(word) && r != utf8.RuneError {
		return word[:size] + "***"
	}
	return "***"
}
