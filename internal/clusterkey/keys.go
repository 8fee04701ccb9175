package clusterkey

import "slices"

// Keys are what a key file holds: the key in use, and while the secret is exchanged the
// one before it, which is still accepted.
type Keys []Key

// maxKeys is how many keys a file may hold.
const maxKeys = 2

// Derive returns the keys for a purpose, in the same order.
func (ks Keys) Derive(purpose string) [][32]byte {
	var derived [][32]byte
	for _, k := range ks {
		derived = append(derived, k.Derive(purpose))
	}
	return derived
}

// IDs are the keys' short names, in the same order.
func (ks Keys) IDs() []string {
	var ids []string
	for _, k := range ks {
		ids = append(ids, k.ID())
	}
	return ids
}

// Text is the text of a file with these keys, in the clear.
func (ks Keys) Text() string {
	var text string
	for n, k := range ks {
		switch n {
		case 0:
			text += "# " + k.ID() + ", in use\n"
		case 1:
			text += "# " + k.ID() + ", still accepted\n"
		}
		text += k.Text()
	}
	return text
}

func (ks Keys) has(k Key) bool { return slices.ContainsFunc(ks, k.Equal) }
