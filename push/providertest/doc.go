// Package providertest has push services for tests, and the tests that every sender
// passes.
//
// The services listen on loopback, with TLS, and speak what the real ones speak: APNs by
// HTTP/2 with signed tokens or client certificates, Google's token endpoint with FCM v1,
// the legacy API of GCM, the token endpoint and the channels of WNS, and a push service
// for browsers that decrypts what it gets. They check all they are sent, and refuse what
// the real ones refuse. What no right client would ever send is a complaint, which fails
// the test in the end, unless it was taken.
//
// What a service answers for a device is scripted by the name of the device: On. Start
// starts all of them, and Config is a configuration that leads to them.
package providertest
