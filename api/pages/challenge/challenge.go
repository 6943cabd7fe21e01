package challenge

import (
	"context"

	"github.com/trellisdb/trellis/storage/fault"
)

// Names of the form fields, which clients of reCAPTCHA's first version use.
const (
	ChallengeField = "recaptcha_challenge_field"
	ResponseField  = "recaptcha_response_field"
)

// Question is what a form asks. The zero Question asks nothing.
type Question struct {
	Seal   string  // value of the hidden field ChallengeField
	Prompt string  // for a person to answer in ResponseField; empty: nothing
	Bits   int     // leading zero bits a proof of work wants; 0: no work
	Widget *Widget // of an outside service; nil: none
}

// Widget is how a page shows the challenge of an outside service.
type Widget struct {
	Script  string   // URL of the script
	Class   string   // of the element the script fills
	SiteKey string   // public key
	Sources []string // for the page's content security policy
}

// Answer is what a form was sent with.
type Answer struct{ Challenge, Response string }

// AnswerOf reads an answer from the parameters of a request, under any of the
// names that clients use.
func AnswerOf(param func(name string) (string, error)) (Answer, error) {
	var a Answer
	for _, field := range []struct {
		value *string
		names []string
	}{
		{&a.Challenge, []string{ChallengeField, "recaptcha_challenge"}},
		{&a.Response, []string{ResponseField, "recaptcha_response", "g-recaptcha-response"}},
	} {
		for _, name := range field.names {
			v, err := param(name)
			if err != nil {
				return Answer{}, err
			}
			if v != "" {
				*field.value = v
				break
			}
		}
	}
	return a, nil
}

// None asks nothing and takes every answer: the challenge is off.
type None struct{}

// Issue returns the Question that asks nothing.
func (None) Issue(string) Question { return Question{} }

// Check takes every answer.
func (None) Check(context.Context, string, Answer) error { return nil }

// wrong is IllegalArgument, with a message that begins as clients know it.
func wrong(rest string) error {
	return fault.New(fault.IllegalArgument, "Incorrect Captcha%s", rest)
}
