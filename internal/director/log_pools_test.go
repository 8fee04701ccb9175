package director

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/healthcheck"
)

// What a panic has kept in does not return.
func TestReturnFromAPanicIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, stop := w.run(poolTOML("panic_threshold = 0.5", 1, 1))
		defer stop()
		refused := errors.New("connect refused")
		for _, host := range []string{"2", "1"} {
			w.verdict("10.0.1."+host+":80", healthcheck.Down, refused)
		}
		for _, host := range []string{"1", "2"} {
			w.verdict("10.0.1."+host+":80", healthcheck.Up, nil)
		}
		if diff := cmp.Diff([]string{
			"real-server-left web/s2: 10.0.1.2:80 removed from web: connect refused",
			"real-server-left web/s1: 10.0.1.1:80 fails its check, and stays in web: connect refused",
			"real-server-returned web/s1: 10.0.1.1:80 passes its check again, and has stayed in web",
			"real-server-returned web/s2: 10.0.1.2:80 returned to web as a backup with weight 10",
		}, w.recorded("real-server")); diff != "" {
			t.Errorf("journal -want +got:\n%s", diff)
		}
	})
}

// Several virtual servers of one real server are told of in one order.
func TestPoolsAreSaidInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		toml := "[check.alive]\ntype = \"tcp\"\n"
		var want []string
		for i, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
			toml += fmt.Sprintf("[virtual_server.%s]\naddress = \"10.0.0.%d:80\"\nprotocol = \"tcp\"\ncheck = \"alive\"\n", name, 100+i) +
				"[virtual_server." + name + ".real_server]\ns1 = { address = \"10.0.1.1:80\" }\n"
			want = append(want, "quorum-lost "+name+": no real server takes connections, and there is no sorry server: they are refused")
		}
		_, stop := w.run(toml)
		defer stop()
		w.verdict("10.0.1.1:80", healthcheck.Down, errors.New("connect refused"))
		if got := w.recorded("quorum-lost"); !slices.Equal(got, want) {
			t.Errorf("journal:\n%s", strings.Join(got, "\n"))
		}
	})
}

// A virtual server that is removed in a panic and comes back is not one whose panic ends.
func TestPanicOfAVirtualServerThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		const check = "[check.alive]\ntype = \"tcp\"\n"
		other := strings.ReplaceAll(strings.TrimPrefix(poolTOML("", 1, 0), check), "web", "other")
		other = strings.NewReplacer("100:80", "101:80", "10.0.1.1", "10.0.2.1").Replace(other)
		toml := poolTOML("panic_threshold = 0.5", 1, 0)
		d, stop := w.run(toml + other)
		defer stop()
		w.verdict("10.0.1.1:80", healthcheck.Down, errors.New("no route to host"))
		reload(t, d, check+other)
		reload(t, d, strings.Replace(toml, "panic_threshold = 0.5", "", 1)+other)
		if got := w.recorded("panic"); len(got) != 1 {
			t.Errorf("journal:\n%s", strings.Join(got, "\n"))
		}
	})
}
