package vrrp

// VirtualMAC returns the Virtual Router MAC address (RFC 9568 section 7.3).
func VirtualMAC(f Family, id VRID) [6]byte {
	block := byte(0x01)
	if f == IPv6 {
		block = 0x02
	}
	return [6]byte{0x00, 0x00, 0x5e, 0x00, block, byte(id)}
}
