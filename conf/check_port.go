package conf

// portKey is the key of the types of checks that ask a port of the real server.
const portKey = "port"

// checkPort reads a port to ask in place of the real server's; 0: the real server's.
func (p *parser) checkPort(t *node) uint16 {
	return uint16(p.integer(t.kid(portKey), 0, 1, 65535))
}

func (w *writer) checkPort(port uint16) {
	if port != 0 {
		w.integer(portKey, int64(port))
	}
}
