package routerproc

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/vrrp"
)

// same compares values of package vrrp: moments as such, addresses as values, and nil
// apart from empty.
var same = cmp.Options{
	cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) }),
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
}

// fill sets everything that v holds to something that is not zero, and not twice the
// same. A field that is added later is filled too.
func fill(t *testing.T, v reflect.Value, n *int) {
	t.Helper()
	*n++
	switch v.Interface().(type) {
	case netip.Addr:
		list := []string{"10.0.0.1", "fe80::1%eth0", "2001:db8::1", "::ffff:10.0.0.1"}
		v.Set(reflect.ValueOf(netip.MustParseAddr(list[*n%len(list)])))
		return
	case netip.Prefix:
		list := []string{"10.0.0.1/24", "2001:db8::1/64", "0.0.0.0/0"}
		v.Set(reflect.ValueOf(netip.MustParsePrefix(list[*n%len(list)])))
		return
	case time.Time:
		v.Set(reflect.ValueOf(time.Unix(1700000000, int64(*n)).In(time.FixedZone("CEST", 7200))))
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.String:
		v.SetString("text \"\u2028<&> " + string(rune('a'+*n%26)))
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(*n))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(*n))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem(), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(t, v.Index(0), n)
		fill(t, v.Index(1), n)
	case reflect.Array:
		for i := range v.Len() {
			fill(t, v.Index(i), n)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range 2 {
			key, elem := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			fill(t, key, n)
			fill(t, elem, n)
			v.SetMapIndex(key, elem)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i), n)
		}
	default:
		t.Fatalf("no way to fill %v", v.Type())
	}
}

func roundTrip[T any](t *testing.T, in T) T {
	t.Helper()
	var b bytes.Buffer
	if err := writeFrame(&b, in); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(&b)
	var out T
	if err := readFrame(r, &out); err != nil {
		t.Fatal(err)
	}
	if err := readFrame(r, &out); err != io.EOF {
		t.Errorf("after the message: %v, want EOF", err)
	}
	return out
}

// TestEveryFieldCrosses sends messages in which everything is set. Whatever package vrrp
// adds to its values later has to cross too.
func TestEveryFieldCrosses(t *testing.T) {
	n := 0
	var down toChild
	fill(t, reflect.ValueOf(&down).Elem(), &n)
	if diff := cmp.Diff(down, roundTrip(t, down), same); diff != "" {
		t.Errorf("to the child, -sent +received:\n%s", diff)
	}
	var up fromChild
	fill(t, reflect.ValueOf(&up).Elem(), &n)
	if diff := cmp.Diff(up, roundTrip(t, up), same); diff != "" {
		t.Errorf("from the child, -sent +received:\n%s", diff)
	}
}

// TestZeroValuesCross sends what has nothing set: nil stays nil, and invalid invalid.
func TestZeroValuesCross(t *testing.T) {
	for _, in := range []toChild{
		{Apply: &apply{Instances: map[string]vrrp.Instance{"web": {}}}},
		{Apply: &apply{}}, {Apply: &apply{Instances: map[string]vrrp.Instance{}}},
		{Start: &Start{}}, {Order: &order{}}, {Ping: &ping{}}, {Stop: &stop{}},
	} {
		if diff := cmp.Diff(in, roundTrip(t, in), same); diff != "" {
			t.Errorf("-sent +received:\n%s", diff)
		}
	}
	for _, in := range []fromChild{
		{Facts: &Facts{}}, {Event: &event{}}, {Event: &event{Snapshot: &vrrp.Snapshot{}}},
		{Pong: &pong{}}, {Pong: &pong{Snapshots: map[string]vrrp.Snapshot{}}},
	} {
		if diff := cmp.Diff(in, roundTrip(t, in), same); diff != "" {
			t.Errorf("-sent +received:\n%s", diff)
		}
	}
}

func TestBrokenFrames(t *testing.T) {
	frame := func(n uint32, body string) string {
		return string(binary.BigEndian.AppendUint32(nil, n)) + body
	}
	for _, tt := range []struct {
		name, in string
		want     error // nil: any
	}{
		{"nothing", "", io.EOF},
		{"half a length", "\x00\x00", io.ErrUnexpectedEOF},
		{"a length alone", frame(2, ""), io.ErrUnexpectedEOF},
		{"half a message", frame(4, "{}"), io.ErrUnexpectedEOF},
		{"too long", frame(maxFrame+1, "{}"), errFrame},
		{"no JSON", frame(2, "{]"), nil},
		{"empty", frame(0, ""), nil},
		{"another type", frame(10, `{"Ping":1}`), nil},
	} {
		var m toChild
		err := readFrame(bufio.NewReader(bytes.NewReader([]byte(tt.in))), &m)
		if err == nil || tt.want != nil && !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

// FuzzReadFrame: whatever arrives, there is a message or an error, and a message that was
// read is read the same again after it has been written.
func FuzzReadFrame(f *testing.F) {
	seed := func(m any) {
		var b bytes.Buffer
		if err := writeFrame(&b, m); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	seed(toChild{Start: &Start{LogFormat: "json"}})
	seed(toChild{Apply: &apply{Instances: map[string]vrrp.Instance{"web": {Name: "web"}}}})
	seed(toChild{Order: &order{handOver, []string{"web"}}})
	f.Add([]byte("\x00\x00\x00\x02{}"))
	f.Add([]byte("\xff\xff\xff\xff{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var m toChild
		if err := readFrame(bufio.NewReader(bytes.NewReader(b)), &m); err != nil {
			return
		}
		if diff := cmp.Diff(m, roundTrip(t, m), same); diff != "" {
			t.Errorf("-read +read again:\n%s", diff)
		}
	})
}
