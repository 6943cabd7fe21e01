// Package portable is the format in which an application leaves a cluster and comes
// into another: JSON objects, one a line, which docs/format/export.md draws. It also
// reads what Usergrid's own export wrote.
//
// A file begins with a header and ends with a line that counts the others and has the
// SHA-256 of all that is before it, so that one that was cut or damaged is known.
// Everything that is read is bounded; what is not understood is refused with the line
// it is in, never guessed.
//
// The package is pure.
package portable
