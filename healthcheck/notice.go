package healthcheck

import "time"

// Notice is what a success says besides: something that an operator should see to, and
// that takes no real server out. The zero value says nothing.
type Notice struct {
	// Text is the warning, in words for the operator: "certificate expires 2026-12-01".
	// Empty: there is nothing to warn of.
	Text string
	// Expires is when the certificate that the target has shown ceases to be good; zero if
	// it has shown none.
	Expires time.Time
}

// Noticer is a Checker whose success may come with a [Notice]. The Monitor asks for it
// after each success, before it lets the Checker ask again. A text that is not the last
// success's is an event.
type Noticer interface {
	Checker
	Notice() Notice
}
