package netif

import "golang.org/x/sys/unix"

// linkIndex is the index of a link; 0: there is none of that name, or it cannot be
// found out. It asks the kernel for this one alone, where [net.InterfaceByName] reads
// them all: that for each of hundreds of virtual routers' links takes minutes.
func linkIndex(name string) int {
	request, err := unix.NewIfreq(name)
	if err != nil {
		return 0
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	defer unix.Close(fd)
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, request); err != nil {
		return 0
	}
	return int(request.Uint32())
}
