package challenge

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// Arithmetic asks a person a small sum. It needs no JavaScript. It is safe for
// concurrent use.
type Arithmetic struct{ sealer sealer }

// NewArithmetic checks cfg.
func NewArithmetic(cfg Config) (*Arithmetic, error) {
	s, err := newSealer(cfg)
	if err != nil {
		return nil, err
	}
	return &Arithmetic{s}, nil
}

// Issue asks a new question for a purpose.
func (a *Arithmetic) Issue(purpose string) Question {
	made, text := a.sealer.issue(purpose, 0)
	prompt, _ := a.sum(made)
	return Question{Seal: text, Prompt: prompt}
}

// Check returns IllegalArgument unless the answer is right, is to a question
// asked for this purpose, and comes in time. A question has one answer: a
// wrong one spends it, too, or a script would try them all.
func (a *Arithmetic) Check(_ context.Context, purpose string, answer Answer) error {
	read, err := a.sealer.open(purpose, answer.Challenge)
	if err != nil {
		return err
	}
	if read.bits != 0 {
		return wrong(". Please try again.")
	}
	if err := a.sealer.spend(read); err != nil {
		return err
	}
	_, want := a.sum(read)
	if got := strings.TrimSpace(answer.Response); len(got) > 4 || got != strconv.Itoa(want) {
		return wrong(". Please answer the new question.")
	}
	return nil
}

// sum derives question and result from the seal, so that the text of the seal
// does not tell the result and nobody has to remember it.
func (a *Arithmetic) sum(s seal) (prompt string, result int) {
	b := a.sealer.mac("sum", s.random[:], "")
	switch x, y := int(b[1])%19+2, int(b[2])%9+1; b[0] % 3 {
	case 0:
		return fmt.Sprintf("What is %d plus %d?", x, y), x + y
	case 1:
		return fmt.Sprintf("What is %d minus %d?", x+y, y), x
	default:
		x = x%8 + 2
		return fmt.Sprintf("What is %d times %d?", x, y), x * y
	}
}
