// Command hadirector makes two or a few Linux directors into one dependable load
// balancer: it moves virtual addresses between them by VRRP, checks real servers,
// keeps the kernel's IPVS table in step, and shares connection state.
package main

import (
	"os"
)

// version is set by the linker: -X main.version=v1.2.3.
var version = "devel"

func main() {
	os.Exit(execute(os.Args[1:], os.Stdout, os.Stderr))
}
