// Package management answers what lies under /management, and what of an
// application is about credentials: organisations, applications, admin users,
// tokens and client secrets (spec management, auth-and-tokens).
//
// Organisations, admin users and application records are entities of the
// management application; every change of them is one command, so that an
// organisation, its owner and its first application come into being together
// or not at all.
//
// Each handler first resolves what the path names, then checks access, then
// reads the body. What the API names and this version does not offer yet is
// answered NotImplemented, after the same checks.
package management
