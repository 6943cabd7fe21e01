// Package workload knows the requests of each workload of the harness and how
// to tell a right answer from a wrong one: create, get by id, get by name,
// update, list pages, and a mix of four reads to one update on zipfian keys.
//
// A Set is a collection filled with generated entities, on which workers
// operate. Every answer is looked at (status, the entity asked for, the size
// of the page), so that a fast wrong answer is an error and not a success.
package workload
