package healthcheck

// outbox holds the events that their reader has not taken yet, one per target: a
// newer status replaces the older one and keeps its place in the line. So it never
// holds more events than there are targets, and never loses where a target ended.
type outbox struct {
	events map[Target]Event
	// line is the order of first arrival. Targets that were dropped stay in it and
	// are passed over.
	line []Target
}

// put adds an event or replaces the target's older one.
func (o *outbox) put(ev Event) {
	if o.events == nil {
		o.events = make(map[Target]Event)
	}
	if _, ok := o.events[ev.Target]; !ok {
		o.line = append(o.line, ev.Target)
	}
	o.events[ev.Target] = ev
}

// head returns the event that has waited longest.
func (o *outbox) head() (Event, bool) {
	for len(o.line) > 0 {
		if ev, ok := o.events[o.line[0]]; ok {
			return ev, true
		}
		o.line = o.line[1:]
	}
	o.line = nil
	return Event{}, false
}

// drop forgets a target's event.
func (o *outbox) drop(t Target) { delete(o.events, t) }
