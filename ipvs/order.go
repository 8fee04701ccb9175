package ipvs

import (
	"encoding/binary"
	"net/netip"
)

// Sort brings the services and their destinations into the order in which ipvsadm
// lists them: services by mark, family, protocol, address and port, destinations by
// address and port.
//
// ipvsadm compares numbers by the sign of their difference in 32 bits, so 192.168.0.0
// comes before 10.0.0.0, and the greatest mark before none. Such an order runs in
// circles, and what a sort makes of one depends on the sort: this is the merge sort
// that the C library has, from the kernel's order on.
func (l Listing) Sort() {
	mergeSort(l, compareServices)
	for _, s := range l {
		mergeSort(s.Destinations, func(a, b ListedDestination) int32 { return compareAddrPorts(a.Key, b.Key) })
	}
}

// compareServices is negative if a comes before b.
func compareServices(a, b ListedService) int32 {
	if r := int32(a.Key.FWMark - b.Key.FWMark); r != 0 {
		return r
	}
	if a.Key.Is6() != b.Key.Is6() {
		return int32(compareBool(a.Key.Is6(), b.Key.Is6()))
	}
	if r := int32(a.Key.Protocol) - int32(b.Key.Protocol); r != 0 {
		return r
	}
	if a.Key.FWMark != 0 {
		return 0
	}
	return compareAddrPorts(a.Key.Addr, b.Key.Addr)
}

// compareAddrPorts compares two addresses word by word, of one family or of two: an
// IPv4 address is the first word, and all that counts if it is a.
func compareAddrPorts(a, b netip.AddrPort) int32 {
	wordsA, wordsB := addrWords(a.Addr()), addrWords(b.Addr())
	if a.Addr().Is4() {
		wordsA, wordsB = wordsA[:1], wordsB[:1]
	}
	for i := range wordsA {
		if r := int32(wordsA[i] - wordsB[i]); r != 0 {
			return r
		}
	}
	return int32(a.Port()) - int32(b.Port())
}

// addrWords is an address as the kernel's union of both families holds it.
func addrWords(a netip.Addr) []uint32 {
	var b [16]byte
	copy(b[:], a.AsSlice())
	words := make([]uint32, 4)
	for i := range words {
		words[i] = binary.BigEndian.Uint32(b[4*i:])
	}
	return words
}

// mergeSort sorts the halves, the first one being the smaller, and merges them.
func mergeSort[T any](s []T, compare func(a, b T) int32) {
	if len(s) < 2 {
		return
	}
	first, second := s[:len(s)/2], s[len(s)/2:]
	mergeSort(first, compare)
	mergeSort(second, compare)
	merged := make([]T, 0, len(s))
	for len(first) > 0 && len(second) > 0 {
		if compare(first[0], second[0]) <= 0 {
			merged, first = append(merged, first[0]), first[1:]
		} else {
			merged, second = append(merged, second[0]), second[1:]
		}
	}
	merged = append(append(merged, first...), second...)
	copy(s, merged)
}
