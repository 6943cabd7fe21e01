package apns

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// dateForm is how certInfo writes dates; they are in UTC.
const dateForm = "Mon 02 Jan 2006 15:04:05 GMT"

// maxTopics bounds what is believed of a certificate's list.
const maxTopics = 64

var (
	oidUserID = asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 1}
	oidTopics = asn1.ObjectIdentifier{1, 2, 840, 113635, 100, 6, 3, 6}
	oidApple  = asn1.ObjectIdentifier{1, 2, 840, 113635}
)

// details is what certInfo tells of a certificate.
type details struct {
	Subject                 string            `json:"subject"`
	Issuer                  string            `json:"issuer"`
	ValidFrom               string            `json:"validFrom"`
	ValidFromTimestamp      int64             `json:"validFromTimestamp"` // ms
	ValidTo                 string            `json:"validTo"`
	ValidToTimestamp        int64             `json:"validToTimestamp"` // ms
	SerialNumber            any               `json:"serialNumber"`     // a string if it is longer than 63 bits
	Version                 int               `json:"version"`
	SignatureAlgorithm      string            `json:"signatureAlgorithm"`
	SubjectAlternativeNames []string          `json:"subjectAlternativeNames"`
	ExtendedKeyUsages       []string          `json:"extendedKeyUsages"`
	BasicConstraints        int               `json:"basicConstraints"` // length of the path below a CA; -1: it is none
	Extensions              map[string]string `json:"extensions"`
}

// certInfo is the property of that name.
func certInfo(c *x509.Certificate, filename string) any {
	d := details{
		Subject:                 distinguishedName(c.Subject),
		Issuer:                  distinguishedName(c.Issuer),
		ValidFrom:               c.NotBefore.UTC().Format(dateForm),
		ValidFromTimestamp:      c.NotBefore.UnixMilli(),
		ValidTo:                 c.NotAfter.UTC().Format(dateForm),
		ValidToTimestamp:        c.NotAfter.UnixMilli(),
		SerialNumber:            c.SerialNumber.String(),
		Version:                 c.Version,
		SignatureAlgorithm:      algorithmName(c.SignatureAlgorithm),
		SubjectAlternativeNames: alternativeNames(c),
		ExtendedKeyUsages:       usages(c),
		BasicConstraints:        pathLength(c),
		Extensions:              appleExtensions(c),
	}
	if c.SerialNumber.IsInt64() {
		d.SerialNumber = json.Number(c.SerialNumber.String())
	}
	return struct {
		Filename string  `json:"filename,omitempty"`
		Details  details `json:"details"`
	}{clipText(filename), d}
}

// clipText bounds a text out of a certificate or a form.
func clipText(text string) string {
	text = strings.ToValidUTF8(text, "")
	if len(text) > 256 {
		text = strings.ToValidUTF8(text[:256], "")
	}
	return text
}

// distinguishedName writes a name, the most specific part first.
func distinguishedName(name pkix.Name) string {
	short := map[string]string{
		"2.5.4.3": "CN", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST", "2.5.4.10": "O", "2.5.4.11": "OU",
		oidUserID.String(): "UID", "1.2.840.113549.1.9.1": "EMAILADDRESS",
	}
	var parts []string
	for _, attribute := range name.Names[:min(len(name.Names), 32)] {
		kind := attribute.Type.String()
		if s, ok := short[kind]; ok {
			kind = s
		}
		value := clipText(fmt.Sprint(attribute.Value))
		if strings.ContainsAny(value, `,+"\<>;=`) {
			value = `"` + strings.NewReplacer(`"`, `\"`, `\`, `\\`).Replace(value) + `"`
		}
		parts = append(parts, kind+"="+value)
	}
	slices.Reverse(parts)
	return strings.Join(parts, ", ")
}

// algorithmName writes SHA256-RSA as SHA256withRSA.
func algorithmName(a x509.SignatureAlgorithm) string {
	if name := a.String(); strings.Contains(name, "-") {
		digest, key, _ := strings.Cut(name, "-")
		if digest == "ECDSA" { // ECDSA-SHA256
			digest, key = key, digest
		}
		return digest + "with" + key
	}
	return a.String()
}

func alternativeNames(c *x509.Certificate) []string {
	var names []string
	for _, name := range slices.Concat(c.DNSNames, c.EmailAddresses) {
		if len(names) == maxTopics {
			break
		}
		names = append(names, clipText(name))
	}
	return names
}

// usages are the object identifiers of what the certificate may be used for.
func usages(c *x509.Certificate) []string {
	known := map[x509.ExtKeyUsage]string{
		x509.ExtKeyUsageServerAuth: "1.3.6.1.5.5.7.3.1", x509.ExtKeyUsageClientAuth: "1.3.6.1.5.5.7.3.2",
		x509.ExtKeyUsageCodeSigning: "1.3.6.1.5.5.7.3.3", x509.ExtKeyUsageEmailProtection: "1.3.6.1.5.5.7.3.4",
	}
	out := []string{}
	for _, usage := range c.ExtKeyUsage {
		if oid, ok := known[usage]; ok {
			out = append(out, oid)
		}
	}
	for _, oid := range c.UnknownExtKeyUsage[:min(len(c.UnknownExtKeyUsage), maxTopics)] {
		out = append(out, oid.String())
	}
	return out
}

func pathLength(c *x509.Certificate) int {
	switch {
	case !c.BasicConstraintsValid || !c.IsCA:
		return -1
	case c.MaxPathLen < 0 || c.MaxPathLen == 0 && !c.MaxPathLenZero:
		return 1<<31 - 1
	}
	return c.MaxPathLen
}

// appleExtensions are Apple's own: the topics as a list, others in hexadecimal.
func appleExtensions(c *x509.Certificate) map[string]string {
	out := map[string]string{}
	for _, e := range c.Extensions {
		switch {
		case len(e.Id) < len(oidApple) || !e.Id[:len(oidApple)].Equal(oidApple) || len(out) == maxTopics:
		case e.Id.Equal(oidTopics):
			out[e.Id.String()] = strings.Join(extensionTopics(c), ", ")
		default:
			out[e.Id.String()] = clipText(hex.EncodeToString(e.Value[:min(len(e.Value), 128)]))
		}
	}
	return out
}

// certTopics are the topics that a certificate is for, the main one first.
func certTopics(c *x509.Certificate) []string {
	var topics []string
	for _, attribute := range c.Subject.Names {
		if text, ok := attribute.Value.(string); ok && attribute.Type.Equal(oidUserID) && isTopic(text) {
			topics = append(topics, text)
		}
	}
	return append(topics, extensionTopics(c)...)
}

// extensionTopics reads Apple's list: a sequence of names, each followed by a sequence
// of kinds.
func extensionTopics(c *x509.Certificate) []string {
	var topics []string
	for _, e := range c.Extensions {
		if !e.Id.Equal(oidTopics) {
			continue
		}
		var items []asn1.RawValue
		if err := unmarshal(e.Value, &items); err != nil {
			return nil
		}
		for _, item := range items {
			text := string(item.Bytes)
			if !item.IsCompound && isTopic(text) && len(topics) < maxTopics {
				topics = append(topics, text)
			}
		}
	}
	return topics
}
