package push

import (
	"slices"
	"testing"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/keys"
)

func turns(w *walks) (all []entity.Seq) {
	for {
		number, one := w.first()
		if one == nil {
			return all
		}
		all = append(all, number)
	}
}

func TestTurnsComeInOrderAndOnce(t *testing.T) {
	w := walks{of: map[entity.Seq]*walk{}}
	for _, number := range []entity.Seq{3, 1, 2} {
		w.goOn(number)
	}
	if got := turns(&w); !slices.Equal(got, []entity.Seq{3, 1, 2}) || !w.idle() {
		t.Errorf("turns of %v, idle %v", got, w.idle())
	}
	w.goOn(1)
	w.goOn(2)
	w.goOn(1) // while it is in the line: what it is told of may be behind where it is
	if got := turns(&w); !slices.Equal(got, []entity.Seq{1, 2, 1}) {
		t.Errorf("told twice: turns of %v", got)
	}
	w.goOn(1)
	w.goOn(2)
	w.drop(1)
	w.goOn(1)
	if got := turns(&w); !slices.Equal(got, []entity.Seq{1, 2}) {
		t.Errorf("forgotten and told again: turns of %v", got)
	}
}

func TestWalksBeginAnewOnlyWhenTheyAreTold(t *testing.T) {
	w := walks{of: map[entity.Seq]*walk{}}
	w.goOn(7)
	_, one := w.first()
	one.from, one.begun = keys.Due{Device: 5}, true
	if w.goOn(7); !w.of[7].begun {
		t.Error("who goes on has begun anew")
	}
	if w.begin(7); w.of[7].begun {
		t.Error("who begins has gone on")
	}
}

func TestWalksAreRousedWhenSomethingIsDue(t *testing.T) {
	w := walks{of: map[entity.Seq]*walk{1: {next: 30}, 2: {next: 20}, 3: {}}}
	if w.next() != 20 {
		t.Errorf("next at %d", w.next())
	}
	w.rouse(19)
	if !w.idle() {
		t.Error("roused too early")
	}
	w.rouse(20)
	if got := turns(&w); !slices.Equal(got, []entity.Seq{2}) || w.next() != 30 {
		t.Errorf("turns of %v, next at %d", got, w.next())
	}
}

func TestAgendaIsHandedOverOnce(t *testing.T) {
	var a agenda
	a.add(4)
	a.add(4)
	w := walks{of: map[entity.Seq]*walk{}}
	a.hand(&w)
	a.hand(&w)
	if got := turns(&w); !slices.Equal(got, []entity.Seq{4}) || w.search {
		t.Errorf("turns of %v, search %v", got, w.search)
	}
	for number := range entity.Seq(2 * maxPairs) {
		a.add(number + 1)
	}
	if len(a.notifications) > maxPairs || !a.any {
		t.Errorf("%d kept", len(a.notifications))
	}
	if a.hand(&w); !w.search || w.idle() {
		t.Error("more than is kept is not looked for")
	}
}
