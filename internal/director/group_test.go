package director

import (
	"testing"

	"github.com/hadirector/hadirector/vrrp"
)

// With different priorities in one sync group each of two directors could win one
// member, and both would lose all of them.
func TestLowestPriorityCountsForTheGroup(t *testing.T) {
	cfg := parse(t, `
[director.lb-a]
address = "10.0.0.11"
priority = 150
[director.lb-b]
address = "10.0.0.12"
[vrrp.web]
interface = "eth0"
vrid = 51
virtual_addresses = ["10.0.0.100/24"]
sync_group = "site"
[vrrp.web-six]
interface = "eth0"
vrid = 51
virtual_addresses = ["fe80::100/64"]
sync_group = "site"
priority = { lb-a = 120 }
[vrrp.alone]
interface = "eth0"
vrid = 52
virtual_addresses = ["10.0.0.101/24"]
`)
	d := &Director{o: Options{Self: "lb-a"}, force: newInForce(cfg)}
	fitness := d.fitness(cfg)
	for name, want := range map[string]vrrp.Priority{"web": 120, "web-six": 120, "alone": 150} {
		if got := grouped(cfg, fitness, name); got != want {
			t.Errorf("%s: priority %d, want %d", name, got, want)
		}
	}
}
