// Package management answers what lies under /management and /system, and what of an
// application is about credentials: organisations, applications, admin users,
// tokens and client secrets, and what the links of mails lead to (spec management,
// auth-and-tokens, users-groups-roles 1.8 and 1.9).
//
// Routes are data (Routes): method, pattern, and who may call. A request goes through
// the same steps whatever its route: the route is found, what the path names is resolved,
// access is checked, the handler runs, and a change is noted in the log. The matrix of
// access in the tests is made of the routes, so that none is left out.
//
// Organisations, admin users and application records are entities of the
// management application; every change of them is one command, so that an
// organisation, its owner, its first application, the activity that tells of it and
// the mails that go out come into being together or not at all. A mail is a durable
// task (Mailer); one that cannot be made or delivered fails no request.
//
// What the API names and this version does not offer is answered NotImplemented, after
// the same checks.
package management
