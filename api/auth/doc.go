// Package auth knows who calls and what he may do: principals, permission
// strings and their matching, the text forms of tokens and client credentials,
// and the password policy (spec auth-and-tokens).
//
// It decides from its arguments alone: what a caller is comes from
// api/directory, which looks it up, and the clock and randomness from whoever
// calls. Access is denied unless something grants it; there are no deny rules.
//
// What it does not do: hash passwords, store anything, or know of HTTP.
package auth
