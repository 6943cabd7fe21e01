package auth

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/trellisdb/trellis/storage/fault"
)

// PasswordPolicy says which passwords are accepted. Lengths are in characters.
type PasswordPolicy struct {
	MinLength    int
	MaxBytes     int
	MinUppercase int
	MinDigits    int
	MinSpecial   int // of ASCII punctuation
}

// DefaultPasswordPolicy returns the policy of spec auth-and-tokens section 2.3.
func DefaultPasswordPolicy() PasswordPolicy { return PasswordPolicy{MinLength: 4, MaxBytes: 1024} }

// Check returns PasswordPolicy, with every violation in the message, if the
// password is not acceptable.
func (p PasswordPolicy) Check(password string) error {
	var upper, digits, special int
	for _, r := range password {
		switch {
		case unicode.IsUpper(r):
			upper++
		case r >= '0' && r <= '9':
			digits++
		case r > ' ' && r < unicode.MaxASCII && (unicode.IsPunct(r) || unicode.IsSymbol(r)):
			special++
		}
	}
	var violations []string
	atLeast := func(rule string, have, want int, what string) {
		if have < want {
			violations = append(violations, fmt.Sprintf("%s: must be at least %d %s", rule, want, what))
		}
	}
	atLeast("error_length_policy", utf8.RuneCountInString(password), p.MinLength, "characters")
	atLeast("error_uppercase_policy", upper, p.MinUppercase, "uppercase characters")
	atLeast("error_digits_policy", digits, p.MinDigits, "digits")
	atLeast("error_special_chars_policy", special, p.MinSpecial, "special characters")
	if p.MaxBytes > 0 && len(password) > p.MaxBytes {
		violations = append(violations, fmt.Sprintf("error_length_policy: must be at most %d bytes", p.MaxBytes))
	}
	if violations == nil {
		return nil
	}
	return fault.New(fault.PasswordPolicy, "%s", strings.Join(violations, " "))
}
