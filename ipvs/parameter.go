package ipvs

import "strings"

// Parameter is a kernel parameter that forwarding on this machine asks for. Its name is
// sysctl(8)'s: "net.ipv4.ip_forward", "net.ipv4.conf.eth0/5.send_redirects" for eth0.5.
type Parameter struct {
	Name, Value string
	// From, unless it is empty, is the only value that is replaced: any other one is
	// somebody's choice.
	From string
	// With, unless it is empty, is the name of another parameter: this one is asked for
	// as long as that one is given a value that it did not have before.
	With string
	// Needed says that clients are not served without.
	Needed bool
	Reason string // in words for the operator
}

// ParameterState is what became of a Parameter.
type ParameterState struct {
	Parameter
	// Now is the value that the kernel has; empty: it could not be read. Was is what it
	// had before it was changed; empty: it has not been.
	Now, Was string
	Change   ParameterChange // by the call that tells
	// Found is what a repair has replaced.
	Found string
	// Err says why it could not be read or written.
	Err error
}

// OK tells whether the kernel has the value.
func (s ParameterState) OK() bool { return s.Err == nil && s.Now == s.Value }

// ParameterChange is what was done to a parameter.
type ParameterChange string

// The changes.
const (
	ParameterSet      ParameterChange = "set"
	ParameterRepaired ParameterChange = "repaired" // somebody else had changed it
	ParameterPutBack  ParameterChange = "put-back"
	// ParameterLeft was to be put back, and somebody else has set it meanwhile.
	ParameterLeft ParameterChange = "left"
)

// Command is what an operator would type to give the parameter its value: "sysctl -w
// net.ipv4.ip_forward=1".
func (p Parameter) Command() string {
	value := PlainParameter(p.Value)
	if strings.Contains(value, " ") {
		value = "'" + value + "'"
	}
	return "sysctl -w " + p.Name + "=" + value
}

// PlainParameter is a parameter's value as one would type it: the kernel puts tabs between
// several numbers.
func PlainParameter(value string) string { return strings.Join(strings.Fields(value), " ") }
