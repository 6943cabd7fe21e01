package history

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

// model is one key: a register that can be absent. Input and output of an
// operation are both in the Op.
func model() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return Absent },
		Step: func(state, input, _ any) (bool, any) {
			ok, next := step(state.(uint64), input.(Op))
			return ok, next
		},
		Equal:             func(a, b any) bool { return a == b },
		DescribeOperation: func(input, _ any) string { return input.(Op).String() },
		DescribeState:     func(state any) string { return valueText(state.(uint64)) },
	}
}

// step says whether an operation can have happened in a state, and the state
// after it. An unknown write happens as the state demands: one that never
// happened is one that happens after all reads.
func step(state uint64, o Op) (possible bool, next uint64) {
	switch {
	case o.Kind == Read:
		return state == o.Value, state
	case o.Kind == Update:
		return o.Outcome != Refused, o.Value
	case o.Kind == Create && o.Outcome == Done:
		return state == Absent, o.Value
	case o.Kind == Create && o.Outcome == Refused:
		return state != Absent, state
	case o.Kind == Create && state == Absent:
		return true, o.Value
	case o.Kind == Create:
		return true, state
	case o.Outcome == Done: // a delete, as all that follow
		return state != Absent && (state == o.Value || o.Value == Something), Absent
	case o.Outcome == Refused:
		return state == Absent, Absent
	}
	return true, Absent
}

// Verdict is what the checker found.
type Verdict struct {
	Keys    int
	Illegal []string // keys whose history is not linearizable
	GaveUp  []string // keys the checker had not decided in time
	Files   []string // pictures of illegal histories
}

// Check decides for each key whether its history is linearizable, taking at
// most limit for one. Pictures of those that are not go into dir.
func (h *History) Check(limit time.Duration, dir string) (Verdict, error) {
	byKey := h.byKey()
	keys := slices.Sorted(maps.Keys(byKey))
	results := make([]porcupine.CheckResult, len(keys))
	next := make(chan int)
	var done sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		done.Go(func() {
			for i := range next {
				results[i] = porcupine.CheckOperationsTimeout(model(), byKey[keys[i]], limit)
			}
		})
	}
	for i := range keys {
		next <- i
	}
	close(next)
	done.Wait()

	v := Verdict{Keys: len(keys)}
	var err error
	for i, key := range keys {
		switch results[i] {
		case porcupine.Illegal:
			v.Illegal = append(v.Illegal, key)
			file, drawErr := draw(byKey[key], limit, dir, key)
			err = errors.Join(err, drawErr)
			v.Files = append(v.Files, file)
		case porcupine.Unknown:
			v.GaveUp = append(v.GaveUp, key)
		}
	}
	return v, err
}

// byKey sorts operations by key. An unknown write returns after all else.
func (h *History) byKey() map[string][]porcupine.Operation {
	end := time.Duration(0)
	for _, o := range h.Ops {
		end = max(end, o.Call, o.Return)
	}
	all := make(map[string][]porcupine.Operation)
	for _, o := range h.Ops {
		op := porcupine.Operation{ClientId: o.Client, Input: o, Call: int64(o.Call), Return: int64(o.Return)}
		if o.Outcome == Unknown {
			op.Return = int64(end) + 1
		}
		all[o.Key] = append(all[o.Key], op)
	}
	return all
}

// draw writes the picture of a history and returns its file.
func draw(ops []porcupine.Operation, limit time.Duration, dir, key string) (string, error) {
	_, info := porcupine.CheckOperationsVerbose(model(), ops, limit)
	file := filepath.Join(dir, "illegal-"+strings.ReplaceAll(key, "/", "-")+".html")
	f, err := os.Create(file)
	if err != nil {
		return "", fmt.Errorf("draw the history of %s: %w", key, err)
	}
	if err := errors.Join(porcupine.Visualize(model(), info, f), f.Close()); err != nil {
		return "", fmt.Errorf("draw the history of %s: %w", key, err)
	}
	return file, nil
}
