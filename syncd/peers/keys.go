package peers

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/hashicorp/memberlist"
)

// maxKeys is how many keys are accepted at a time.
const maxKeys = 2

// KeyID names a key to those who have it.
type KeyID [4]byte

func idOf(key [32]byte) KeyID {
	sum := sha256.Sum256(append([]byte("membership key "), key[:]...))
	return KeyID(sum[:])
}

func idsOf(keys [][32]byte) []KeyID {
	var ids []KeyID
	for _, k := range keys {
		ids = append(ids, idOf(k))
	}
	return ids
}

func validKeys(keys [][32]byte) error {
	if len(keys) == 0 || len(keys) > maxKeys {
		return fmt.Errorf("%d keys, want 1 to %d", len(keys), maxKeys)
	}
	if slices.Contains(keys, [32]byte{}) {
		return errors.New("key is empty")
	}
	return nil
}

// SetKeys replaces the keys. Whoever has one of them goes on being heard.
func (p *Peers) SetKeys(keys [][32]byte) error {
	if err := validKeys(keys); err != nil {
		return err
	}
	p.keys.Store(&keys)
	select {
	case p.rekey <- struct{}{}:
	default: // it will look
	}
	return nil
}

// primary is the key to be used: the first, if every peer accepts it. A peer that does not
// tell which it accepts runs an earlier version or has not been heard, and has the last one
// if it has any.
func primary(keys [][32]byte, peers map[string]Member) [32]byte {
	for _, m := range peers {
		if !slices.Contains(m.Meta.Keys, idOf(keys[0])) {
			return keys[len(keys)-1]
		}
	}
	return keys[0]
}

// newRing returns memberlist's keys.
func (r *run) newRing() (*memberlist.Keyring, error) {
	keys := *r.keys.Load()
	var all [][]byte
	for _, k := range keys {
		all = append(all, k[:])
	}
	use := primary(keys, r.book.view().members)
	return memberlist.NewKeyring(all, use[:])
}

// useKeys makes memberlist's keys the present ones, with the right one in use. It adds
// before it removes, so that nothing is missed between.
func (r *run) useKeys() {
	keys := *r.keys.Load()
	var errs []error
	for _, k := range keys {
		errs = append(errs, r.ring.AddKey(k[:]))
	}
	use := primary(keys, r.book.view().members)
	errs = append(errs, r.ring.UseKey(use[:]))
	for _, b := range r.ring.GetKeys() {
		if !slices.Contains(keys, [32]byte(b)) {
			errs = append(errs, r.ring.RemoveKey(b))
		}
	}
	if err := errors.Join(errs...); err != nil {
		r.opts.Logger.Error("keys of the membership not replaced", "err", err)
	}
}
