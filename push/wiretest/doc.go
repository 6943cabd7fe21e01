// Package wiretest proves push notifications from end to end: requests to a whole server,
// which sends to the services of push/providertest, and what of it can be read by REST
// afterwards.
//
// It holds tests alone. Acceptance checks of the specification carry their numbers in the
// names of their tests.
package wiretest
