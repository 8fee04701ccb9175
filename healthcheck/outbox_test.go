package healthcheck

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A script of words: "a+" puts an up event of target a, "a-" a down event, "!a"
// drops a, "?" takes the head.
func TestOutbox(t *testing.T) {
	tests := []struct {
		name   string
		script string
		want   string // what the "?"s got, "." for nothing
	}{
		{"empty", "?", "."},
		{"in order of arrival", "a+ b- c+ ? ? ? ?", "a+ b- c+ ."},
		{"the newest status of a target wins and keeps its place", "a+ b+ a- ? ? ?", "a- b+ ."},
		{"flapping while nobody reads", "a- a+ a- a+ ? ?", "a+ ."},
		{"again after it was taken", "a+ ? a- ? ?", "a+ a- ."},
		{"dropped", "a+ b+ !a ? ?", "b+ ."},
		{"dropped and put again", "a+ b+ !a a- ? ? ?", "a- b+ ."},
		{"dropping what is not there", "!a a+ ? !a ?", "a+ ."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var o outbox
			var got []string
			for word := range strings.FieldsSeq(tt.script) {
				switch {
				case word == "?":
					ev, ok := o.head()
					if !ok {
						got = append(got, ".")
						continue
					}
					sign := map[Status]string{Up: "+", Down: "-"}[ev.Status]
					got = append(got, ev.Target.Check+sign)
					o.drop(ev.Target)
				case word[0] == '!':
					o.drop(letterTarget(word[1:]))
				default:
					status := map[string]Status{"+": Up, "-": Down}[word[1:]]
					o.put(Event{Target: letterTarget(word[:1]), Status: status})
				}
			}
			if diff := cmp.Diff(tt.want, strings.Join(got, " ")); diff != "" {
				t.Errorf("taken (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOutboxIsBounded(t *testing.T) {
	var o outbox
	for i := range 1000 {
		o.put(Event{Target: letterTarget("a"), Status: Status(1 + i%2)})
	}
	if len(o.events) != 1 || len(o.line) != 1 {
		t.Errorf("1000 changes of one target fill %d events and a line of %d, want 1 and 1", len(o.events), len(o.line))
	}
}

// letterTarget is a target told from others by its check's name.
func letterTarget(name string) Target {
	return Target{Addr: netip.MustParseAddrPort("192.0.2.1:80"), Check: name}
}
