package conf_test

import (
	"testing"
	"time"

	"github.com/hadirector/hadirector/conf"
)

// The types that connect have a connect_timeout, which is the timeout unless it is given. What
// is printed says the same.
func TestConnectTimeout(t *testing.T) {
	for keys, want := range map[string]time.Duration{
		"type = \"tcp\"":                           2 * time.Second,
		"type = \"http\"\ntimeout = \"3s\"":        3 * time.Second,
		"type = \"agent\"\nport = 1":               2 * time.Second,
		"type = \"dns\"\ntransport = \"tcp\"":      2 * time.Second,
		"type = \"dns\"":                           0,
		"type = \"icmp\"":                          0,
		"type = \"tcp\"\nconnect_timeout = \"1s\"": time.Second,
	} {
		cfg, err := conf.Parse([]byte("[check.c]\n"+keys+"\n"), "f")
		if err != nil {
			t.Errorf("%s: %v", keys, err)
			continue
		}
		again, err := conf.Parse([]byte(cfg.String()), "f")
		if err != nil {
			t.Errorf("%s: %v", keys, err)
			continue
		}
		if got, printed := cfg.Checks[0].ConnectTimeout, again.Checks[0].ConnectTimeout; got != want || printed != want {
			t.Errorf("%s: %v, and %v as printed; want %v", keys, got, printed, want)
		}
	}
}

// What is printed of every key reads back as it was.
func TestTimingReadsBack(t *testing.T) {
	cfg, err := conf.Parse([]byte(`
[check.c]
type = "tcp"
interval = "10s"
fast_interval = "500ms"
down_interval = "1m"
jitter = "0%"
timeout = "3s"
connect_timeout = "200ms"
rise = 4
fall = 5
initial = "last"
`), "f")
	if err != nil {
		t.Fatal(err)
	}
	again, err := conf.Parse([]byte(cfg.String()), "f")
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Checks[0] != again.Checks[0] {
		t.Errorf("%+v reads back as %+v", cfg.Checks[0], again.Checks[0])
	}
}
