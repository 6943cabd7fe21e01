package provider

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/trellisdb/trellis/storage/fault"
)

// Set is the providers there are, by name.
type Set map[string]Provider

// Of returns the provider of a notifier that was checked.
func (s Set) Of(n Notifier) (Provider, error) {
	p, ok := s[n.Provider()]
	if !ok {
		return nil, fault.New(fault.IllegalArgument, "there is no provider %q", n.Provider())
	}
	return p, nil
}

// Check makes a notifier of what a client sent and, if it changes one, of what is
// stored. What the client left out stays as it is, secrets too; null takes a property
// away. What is not of the provider and no secret is kept as it is; secrets of other
// providers are not. Faults are IllegalArgument and RequiredProperty.
//
// Only a property that Check itself finds out can be something else than what was
// sent: certInfo, projectId, a bundleId taken from a certificate, generated keys; and
// provider and environment, which it lowers. The result shares no memory with in.
func (s Set) Check(in Input) (Notifier, error) {
	name, err := s.name(&in)
	if err != nil {
		return Notifier{}, err
	}
	if _, ok := in.Members["certInfo"]; ok {
		return Notifier{}, fault.New(fault.IllegalArgument, "certInfo cannot be set")
	}
	if _, ok := in.Files["certInfo"]; ok {
		return Notifier{}, fault.New(fault.IllegalArgument, "certInfo cannot be set")
	}
	if in.Stored != nil && in.Stored.Provider() != name {
		in.Stored = withoutProvider(*in.Stored)
	}
	n := merge(&in)
	n.Set("provider", name)
	if err := s[name].Check(&in, &n); err != nil {
		return Notifier{}, err
	}
	return n, nil
}

func (s Set) name(in *Input) (string, error) {
	name, err := in.Text("provider", 64)
	if err != nil {
		return "", err
	}
	if name == "" && in.Stored != nil {
		name = in.Stored.Provider()
	}
	if name == "" {
		return "", fault.New(fault.RequiredProperty, "a notifier needs the property provider")
	}
	name = strings.ToLower(name)
	if _, ok := s[name]; !ok {
		valid := strings.Join(slices.Sorted(maps.Keys(s)), ", ")
		return "", fault.New(fault.IllegalArgument, "there is no provider %q; there are %s", name, valid)
	}
	return name, nil
}

// withoutProvider is a notifier without what belongs to its provider.
func withoutProvider(n Notifier) *Notifier {
	kept := Notifier{Properties: maps.Clone(n.Properties)}
	for _, property := range ownNames {
		delete(kept.Properties, property)
	}
	return &kept
}

// merge is what is stored and, above it, what was sent. The secrets are the stored
// ones only; those found out here are left to Check.
func merge(in *Input) Notifier {
	n := Notifier{Properties: map[string]json.RawMessage{}, Secrets: Secrets{}}
	if in.Stored != nil {
		for property, value := range in.Stored.Properties {
			n.Properties[property] = slices.Clone(value)
		}
		maps.Copy(n.Secrets, in.Stored.Secrets)
	}
	for property, value := range in.Members {
		switch {
		case IsSecret(property) || found(property):
		case string(value) == "null":
			delete(n.Properties, property)
		default:
			n.Properties[property] = slices.Clone(value)
		}
	}
	delete(n.Properties, "verified")
	delete(n.Properties, "verifyMessage")
	return n
}

// found tells the properties that are found out and never taken from a client.
func found(property string) bool {
	return property == "certInfo" || property == "projectId" || property == "verified" || property == "verifyMessage"
}
