package healthcheck

// agenda is the entries that something is planned for, the earliest first: a binary
// heap by at. Each entry knows its place, so that one in the middle can be moved or
// taken out.
type agenda []*entry

// nowhere is the place of an entry that is not on the agenda.
const nowhere = -1

func (a agenda) before(i, j int) bool { return a[i].at.Before(a[j].at) }

func (a agenda) swap(i, j int) {
	a[i], a[j] = a[j], a[i]
	a[i].place, a[j].place = i, j
}

// push puts e on the agenda at e.at.
func (a *agenda) push(e *entry) {
	e.place = len(*a)
	*a = append(*a, e)
	a.up(e.place)
}

// remove takes e off the agenda, if it is on it.
func (a *agenda) remove(e *entry) {
	i, last := e.place, len(*a)-1
	if i == nowhere {
		return
	}
	a.swap(i, last)
	(*a)[last] = nil
	*a = (*a)[:last]
	e.place = nowhere
	if i != last {
		a.settle(i)
	}
}

// settle moves the entry at i to where its time belongs.
func (a agenda) settle(i int) {
	e := a[i]
	a.up(i)
	a.down(e.place)
}

// order restores the order when many times have changed.
func (a agenda) order() {
	for i := len(a)/2 - 1; i >= 0; i-- {
		a.down(i)
	}
}

func (a agenda) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !a.before(i, parent) {
			return
		}
		a.swap(i, parent)
		i = parent
	}
}

func (a agenda) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(a) {
			return
		}
		if child+1 < len(a) && a.before(child+1, child) {
			child++
		}
		if !a.before(child, i) {
			return
		}
		a.swap(child, i)
		i = child
	}
}
