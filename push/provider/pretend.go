package provider

import (
	"context"
	"strconv"
	"strings"
	"time"
)

// maxSlow bounds what a token can ask for with "slow:".
const maxSlow = time.Minute

// Pretend is what a sender without a service does: all is sent, unless the token asks
// for something else by how it begins.
//
//	fail:CODE   failure with that code
//	gone:       the token is dead
//	retry:N     transient failure up to attempt N
//	move:NEW    sent, and the token is replaced
//	slow:MS     sent after so many milliseconds, up to a minute
//	block:CODE  the credentials are refused with that code
func Pretend(ctx context.Context, m Message) Result {
	if ctx.Err() != nil {
		return NetResult(ctx, ctx.Err())
	}
	verb, argument, ok := strings.Cut(m.Token, ":")
	if !ok {
		return Result{}
	}
	switch verb {
	case "fail":
		return Fail(clip(argument, 64), "the token asks for a failure")
	case "block":
		return Block(clip(argument, 64), "the token asks for a refusal")
	case "gone":
		return Dead("gone", "the token asks to be gone", time.Time{})
	case "move":
		return Result{NewToken: argument}
	case "retry":
		if n, err := strconv.Atoi(argument); err == nil && m.Attempt <= n {
			return Again(TokenLevel, "retry", "the token asks to be tried again")
		}
	case "slow":
		if ms, ok := digits(argument); ok {
			return pretendSlow(ctx, min(time.Duration(ms), maxSlow/time.Millisecond)*time.Millisecond)
		}
	}
	return Result{}
}

func pretendSlow(ctx context.Context, wait time.Duration) Result {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return Result{}
	case <-ctx.Done():
		return NetResult(ctx, ctx.Err())
	}
}
