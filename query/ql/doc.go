// Package ql parses the query language (spec query-language sections 1 to 3)
// into a tree that says what was asked, and prints it again.
//
// What a query prints parses to the same tree, so the printed form is the
// normal form of a query: cursors are bound to it. Errors are faults: of code
// QueryToken for what is no token, QueryParse for what breaks the grammar,
// IllegalArgument for a point or a distance out of range, TooManyDirect. But
// for the last they name token, column and line.
//
// The package is pure. It bounds the depth of the tree and never panics,
// whatever the text.
package ql
