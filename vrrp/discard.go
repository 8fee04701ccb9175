package vrrp

import "errors"

// The reasons not to accept a datagram, one per check.
var (
	// ErrDestination: multicast where unicast is expected, or the other way round.
	ErrDestination = errors.New("wrong kind of destination")
	// ErrTTL: a TTL or Hop Limit below 255, or what is configured for unicast, so the
	// datagram was forwarded.
	ErrTTL = errors.New("TTL is too low")
	// ErrShort: shorter than the fixed fields.
	ErrShort = errors.New("shorter than the fixed fields")
	// ErrVersion: not 2 or 3, 2 over IPv6, or not what the virtual router speaks.
	ErrVersion = errors.New("wrong version")
	// ErrType: not an ADVERTISEMENT.
	ErrType = errors.New("not an advertisement")
	// ErrLength: longer or shorter than its address count says.
	ErrLength = errors.New("wrong length")
	// ErrChecksum: the checksum is wrong in every form that is accepted.
	ErrChecksum = errors.New("wrong checksum")
	// ErrNoAddresses: an address count of zero.
	ErrNoAddresses = errors.New("no addresses")
	// ErrZeroInterval: an advertisement interval of zero.
	ErrZeroInterval = errors.New("advertisement interval is zero")
	// ErrVRID: VRID 0, or one that is not configured on the receiving interface.
	ErrVRID = errors.New("unknown VRID")
	// ErrPeer: a sender that is no known director.
	ErrPeer = errors.New("sender is no known director")
	// ErrHMAC: a trailer that is missing, malformed, of an unknown key or wrong.
	ErrHMAC = errors.New("not authenticated")
	// ErrStale: a trailer whose time is too far from ours.
	ErrStale = errors.New("clocks differ too much")
	// ErrReplay: a trailer that is not newer than the last of its sender.
	ErrReplay = errors.New("replayed")
	// ErrOwnAddress: our own address as the sender: our own advertisement came
	// back, or another machine uses the address.
	ErrOwnAddress = errors.New("sender has our own address")
	// ErrAuth: version 2, another authentication type or password than ours.
	ErrAuth = errors.New("wrong authentication")
	// ErrInterval: version 2, another interval than ours.
	ErrInterval = errors.New("wrong advertisement interval")
)

// discardReasons lists the sentinels in the order of the checks.
var discardReasons = []struct {
	err   error
	token string
}{
	{ErrDestination, "destination"},
	{ErrTTL, "ttl"},
	{ErrShort, "short"},
	{ErrVersion, "version"},
	{ErrType, "type"},
	{ErrLength, "length"},
	{ErrChecksum, "checksum"},
	{ErrNoAddresses, "no-addresses"},
	{ErrZeroInterval, "zero-interval"},
	{ErrVRID, "vrid"},
	{ErrPeer, "peer"},
	{ErrHMAC, "hmac"},
	{ErrStale, "stale"},
	{ErrReplay, "replay"},
	{ErrOwnAddress, "own-address"},
	{ErrAuth, "auth"},
	{ErrInterval, "interval"},
}

// DiscardReason returns the fixed token for the reason that err wraps, as metric
// labels and counters use it, or "other".
func DiscardReason(err error) string {
	for _, r := range discardReasons {
		if errors.Is(err, r.err) {
			return r.token
		}
	}
	return "other"
}

// DiscardReasons returns every token that [DiscardReason] gives for the errors of
// this package, so that counters can exist from the start.
func DiscardReasons() []string {
	tokens := make([]string, len(discardReasons))
	for i, r := range discardReasons {
		tokens[i] = r.token
	}
	return tokens
}
