// Package wiretest proves push notifications from end to end: requests to a whole server,
// which sends to the services of push/providertest, and what of it can be read by REST
// afterwards.
//
// It holds tests alone. The acceptance checks of the specification carry their numbers in
// the names of their tests: most are below TestAcceptance, those that need a server set up
// otherwise beside it. What is proved elsewhere: the rules of each state (section 6.1) in
// api/collections, TestNotificationRules and TestDeleteNotifications; all spellings of
// targets, TestTargets; the lengths of waits, and what becomes of deliveries when the lead
// changes, in push, by a clock of the tests; several nodes in cmd/trellis,
// TestPushThroughAFollower and TestBroadcastOutlivesItsLeaders.
package wiretest
