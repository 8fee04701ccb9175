package ipvs

// Op is one change to the kernel's table. The set is closed. Its String is the line
// of ipvsadm that does the same.
type Op interface {
	String() string
	op()
}

type (
	// AddService, EditService and DeleteService change one service. Deleting one
	// also deletes its destinations.
	AddService    struct{ Service Service }
	EditService   struct{ Service Service }
	DeleteService struct{ Key ServiceKey }
	// AddDestination, EditDestination and DeleteDestination change one
	// destination of a service.
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

func (AddService) op()        {}
func (EditService) op()       {}
func (DeleteService) op()     {}
func (AddDestination) op()    {}
func (EditDestination) op()   {}
func (DeleteDestination) op() {}
