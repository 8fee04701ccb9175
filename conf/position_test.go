package conf

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

// FuzzPositions holds the scanner to the library: of a text that the library accepts,
// every key and value that the library found is where the scanner says.
func FuzzPositions(f *testing.F) {
	for _, s := range []string{
		"", "a = 1", "a = 1 # b = 2\nc = 'x' # y", "[a]\nb = 1\n[a.c]\nd = 2\n", "[a.b.c]\nx = 1\n[a]\ny = 2\n",
		`"a.b" = 1` + "\n" + `"\u0061" . 'x y' = 2`, "a = [1, [2, 3], # four\n 4,\n]\n", "a = { b = 1, c = { d = [ {}, { e = 2 } ] }, }\n",
		"a = \"\"\"x\n\"y\" \\\"\"\"\" z = 1\"\"\"\"\"\nb = '''q'''''\n", "d = 1979-05-27 07:32:00\ne = [1979-05-27 07:32:00, 2]\n",
		"[[a]]\nb = 1\n[a.c]\nd = 1\n[[a]]\nb = 2\n[a.c]\nd = 2\n", "a.b.c = 1\na.b.d = 2\n[e]\nf.g = 1\n",
		"\r\n[a] \t# x\r\nb = 1\r\n", "a = 1\na = 2\n", "[a]\nb = 1\n[a]\nc = 2\n", "a.b = 1\na = 2\n", "a = {}\na.b = 1\n",
		"a = {\n b = 1, # c\n d = 2\n}\n", "é = 1\n", "a = \"\\\\\"\nb = '\\'\n", "[ a . \"b\" ]\nc = inf\n", "a = { b = 1, b = 2, c = 3 }\n",
		"a={}\na = {}00=0", "a = \"]\"\n[b]\n", "a = [\"#\", '}']\n", "a = 1_000\nb = 0xff\nc = +1.5e3\n", "\"\" = 1\n", "0={0=0,1={0=[{0=0,0=00000}]} }", good,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if at, _ := foreignByte(text); at >= 0 || len(text) > 10_000 {
			return
		}
		s := scan(text)
		for _, r := range s.redefined {
			if r.start < 0 || r.end < r.start || r.end > len(text) {
				t.Fatalf("a redefinition from %d to %d of %d", r.start, r.end, len(text))
			}
		}
		if s.tooDeep {
			return
		}
		rest := s.without()
		var values map[string]any
		if _, err := decode(rest, &values); err != nil {
			return
		}
		if s.pos != len(text) {
			if len(s.redefined) > 0 {
				return // Parse looks no further then
			}
			t.Fatalf("the scanner stopped at %d of %d: %q", s.pos, len(text), text[s.pos:])
		}
		s.root.attach(values)
		compare(t, rest, s.root)
	})
}

func compare(t *testing.T, text string, n *node) {
	t.Helper()
	table, isTable := n.value.(map[string]any)
	if n.value == nil && n.parent != nil {
		t.Errorf("%s: the library has no value", n.path())
	}
	if n.name != "" && !strings.HasPrefix(text[n.key:], n.name) && !strings.ContainsAny(text[n.key:n.key+1], `"'`) {
		t.Errorf("%s: the key is not at %d: %.20q", n.path(), n.key, text[n.key:])
	}
	if n.val >= 0 && !isTable {
		var m map[string]any
		if _, err := decode("x = "+text[n.val:n.end]+"\n", &m); err != nil {
			t.Errorf("%s: %q is no value: %v", n.path(), text[n.val:n.end], err)
		} else if !reflect.DeepEqual(m["x"], n.value) && !strings.Contains(text[n.val:n.end], "nan") {
			t.Errorf("%s: %q is not %v", n.path(), text[n.val:n.end], n.value)
		}
	}
	if isTable && len(table) != len(n.kids) {
		t.Errorf("%s: the library has %d keys, the scanner %d", n.path(), len(table), len(n.kids))
	}
	for _, k := range n.kids {
		if _, ok := table[k.name]; isTable && !ok {
			t.Errorf("%s: the library has no such key", k.path())
		}
		if isTable {
			compare(t, text, k)
		}
	}
}

const good = "[vrrp.web]\nvirtual_addresses = [\"10.0.0.100/24\", \"10.0.0.101/24\"]\n" +
	"[virtual_server.web.real_server]\nweb-1 = { address = \"10.0.0.21:80\", weight = 1 }\n"

// Lines and columns of keys and values, written down by hand.
func TestPositions(t *testing.T) {
	text := "" +
		"[director.lb-a] # one\n" + // 1
		"address = \"é\"; \n" + // never parsed: the scanner stops behind the value
		""
	s := scan(text)
	if s.pos != strings.Index(text, ";") {
		t.Errorf("stopped at %d", s.pos)
	}

	text = "\t[director.\"lb a\"]\n" +
		"  address  = \"10.0.0.11\"\n" +
		"[vrrp]\n" +
		"web.vrid = 51\n" +
		"'mail' = { \"vrid\" = 52, x.y = [ 'é', { z = 1 } ] }\n"
	s = scan(text)
	lines := newLineIndex(text)
	at := func(offset int) [2]int { l, c := lines.position(offset); return [2]int{l, c} }
	for _, tt := range []struct {
		path     string
		key, val [2]int
	}{
		{"director", [2]int{1, 3}, [2]int{}},
		{"director/lb a", [2]int{1, 12}, [2]int{}},
		{"director/lb a/address", [2]int{2, 3}, [2]int{2, 14}},
		{"vrrp", [2]int{3, 2}, [2]int{}},
		{"vrrp/web", [2]int{4, 1}, [2]int{}},
		{"vrrp/web/vrid", [2]int{4, 5}, [2]int{4, 12}},
		{"vrrp/mail", [2]int{5, 1}, [2]int{5, 10}},
		{"vrrp/mail/vrid", [2]int{5, 12}, [2]int{5, 21}},
		{"vrrp/mail/x/y", [2]int{5, 27}, [2]int{5, 31}},
	} {
		n := s.root.at(strings.Split(tt.path, "/")...)
		if got := at(n.key); got != tt.key {
			t.Errorf("%s: the key is at %v, want %v", tt.path, got, tt.key)
		}
		if tt.val == [2]int{} {
			if n.val != -1 {
				t.Errorf("%s: has a value at %v", tt.path, at(n.val))
			}
		} else if got := at(n.val); got != tt.val {
			t.Errorf("%s: the value is at %v, want %v", tt.path, got, tt.val)
		}
	}
	elems := s.root.at("vrrp", "mail", "x", "y").elems
	places := [][2]int{}
	for _, e := range elems {
		places = append(places, at(e.val))
	}
	// é is one column, though two bytes.
	if want := [][2]int{{5, 33}, {5, 38}}; !slices.Equal(places, want) {
		t.Errorf("the elements are at %v, want %v", places, want)
	}
}
