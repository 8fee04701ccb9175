package main

import (
	"github.com/hadirector/hadirector/internal/director"
	"github.com/hadirector/hadirector/internal/netif"
	"github.com/hadirector/hadirector/vrrp/router"
)

// trackLinks is a director.Links over the watch of this machine's links.
type trackLinks struct{ *netif.Watcher }

// Watch passes on what a director wants to know of the links.
func (l trackLinks) Watch(ifnames ...string) (<-chan map[string]director.Link, func()) {
	links, stop := l.Watcher.Watch(ifnames...)
	news, over := make(chan map[string]director.Link, 1), make(chan struct{})
	go func() {
		for {
			select {
			case <-over:
				return
			case now := <-links:
				select {
				case <-news: // the reader is behind, and wants the newest
				default:
				}
				news <- directorLinks(now)
			}
		}
	}()
	return news, func() {
		stop()
		close(over)
	}
}

func directorLinks(links map[string]router.Link) map[string]director.Link {
	out := make(map[string]director.Link, len(links))
	for name, l := range links {
		out[name] = director.Link{Up: l.Up, Why: l.Why}
	}
	return out
}
