package ipvs

// Op is one change to the kernel's table. The set is closed. Its String is the
// arguments of ipvsadm that do the same.
type Op interface {
	String() string
	op()
}

type (
	// AddService, EditService and DeleteService change one service. Deleting one
	// also deletes its destinations; editing one keeps them.
	AddService    struct{ Service Service }
	EditService   struct{ Service Service }
	DeleteService struct{ Key ServiceKey }
	// AddDestination, EditDestination and DeleteDestination change one
	// destination of a service. An edit keeps its connections.
	AddDestination struct {
		Service     ServiceKey
		Destination Destination
	}
	EditDestination struct {
		Service     ServiceKey
		Destination Destination
	}
	DeleteDestination struct {
		Service ServiceKey
		Key     DestinationKey
	}
)

// ServiceOf is the service that an operation is about.
func ServiceOf(op Op) ServiceKey {
	switch op := op.(type) {
	case AddService:
		return op.Service.Key
	case EditService:
		return op.Service.Key
	case DeleteService:
		return op.Key
	case AddDestination:
		return op.Service
	case EditDestination:
		return op.Service
	case DeleteDestination:
		return op.Service
	}
	return ServiceKey{}
}

func (AddService) op()        {}
func (EditService) op()       {}
func (DeleteService) op()     {}
func (AddDestination) op()    {}
func (EditDestination) op()   {}
func (DeleteDestination) op() {}

// String returns "-A -t 10.0.0.100:80 -s wrr".
func (o AddService) String() string { return "-A " + o.Service.String() }

// String returns "-E -t 10.0.0.100:80 -s wrr".
func (o EditService) String() string { return "-E " + o.Service.String() }

// String returns "-D -t 10.0.0.100:80".
func (o DeleteService) String() string { return "-D " + o.Key.args() }

// String returns "-a -t 10.0.0.100:80 -r 10.0.0.21:80 -g -w 1".
func (o AddDestination) String() string {
	return "-a " + o.Service.args() + " " + o.Destination.String()
}

// String returns "-e -t 10.0.0.100:80 -r 10.0.0.21:80 -g -w 2".
func (o EditDestination) String() string {
	return "-e " + o.Service.args() + " " + o.Destination.String()
}

// String returns "-d -t 10.0.0.100:80 -r 10.0.0.21:80".
func (o DeleteDestination) String() string {
	return "-d " + o.Service.args() + " -r " + o.Key.String()
}
