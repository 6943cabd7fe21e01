// Package tally counts the requests that applications serve, in counters of theirs that
// clients can read: application.requests.get and so on.
//
// A request costs a lock that is hardly ever contended and an addition: what was
// counted waits in memory, by application and minute, and is written in one command an
// application every Config.Interval, before it is read, and when the node stops. What a
// node that is killed had not written yet is lost, no more than that of one interval; on
// several nodes each writes what it has served itself.
//
// A command keeps its request id until its outcome is known, so what it counts counts
// once, however often it must be sent. While there is no leader, nothing is lost and
// little is kept: an hour of minutes an application, older ones as one.
package tally
