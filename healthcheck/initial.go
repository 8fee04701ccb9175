package healthcheck

// Initial is what a target counts as until its first verdict. That is for the director to
// make true: for a [Monitor] it is Unknown.
type Initial uint8

// The initial statuses. InitialLast is the one that it had at the end of the last run.
const (
	InitialUp Initial = iota
	InitialDown
	InitialLast
)

func (i Initial) String() string {
	switch i {
	case InitialDown:
		return "down"
	case InitialLast:
		return "last"
	}
	return "up"
}
