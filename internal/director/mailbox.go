package director

// mailbox hands the newest value to a slower reader: a value that was not taken yet
// is replaced.
type mailbox[T any] chan T

func newMailbox[T any]() mailbox[T] { return make(mailbox[T], 1) }

// put never blocks. Of several senders at the same moment, any may win.
func (m mailbox[T]) put(v T) {
	for {
		select {
		case m <- v:
			return
		default:
		}
		select {
		case <-m: // the reader is behind: it will get v instead
		default:
		}
	}
}
