package admin

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/hadirector/hadirector/internal/director"
)

// Overridden is the outcome of a live change.
type Overridden struct {
	// Servers are the real servers that it is about, as they are now.
	Servers []OverriddenServer `json:"servers"`
	// Warnings are what the operator should know besides.
	Warnings []string `json:"warnings"`
	// AppliedOn are the directors that have the change, this one first.
	AppliedOn []string `json:"applied_on"`
	// Missing says of each other director why it has not.
	Missing []string `json:"missing"`
	// Refused is what the kernel did not take so far.
	Refused []string `json:"refused"`
}

// OverriddenServer is a real server of a virtual server.
type OverriddenServer struct {
	VirtualServer string `json:"virtual_server"`
	director.RealStatus
}

// override makes a live change, in the name of the user at the other end.
func (s *Server) override(w http.ResponseWriter, r *http.Request) {
	req, err := overrideRequest(r)
	if err != nil {
		s.reply(w, http.StatusBadRequest, apiError{err.Error()})
		return
	}
	out, err := s.o.Override(r.Context(), req)
	if err != nil {
		s.reply(w, http.StatusConflict, apiError{err.Error()})
		return
	}
	s.reply(w, http.StatusOK, out)
}

// overrideRequest reads a request's parameters; what they mean is the director's matter.
func overrideRequest(r *http.Request) (director.OverrideRequest, error) {
	if err := r.ParseForm(); err != nil {
		return director.OverrideRequest{}, err
	}
	req := director.OverrideRequest{
		Target: r.Form.Get("target"), Kind: director.OverrideKind(r.Form.Get("kind")),
		Reason: r.Form.Get("reason"), By: caller(r.Context()),
	}
	if text := r.Form.Get("weight"); req.Kind == director.OverrideWeight {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return req, fmt.Errorf("weight %q: want a number from 0 on", text)
		}
		req.Weight = uint32(n)
	}
	if text := r.Form.Get("for"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil {
			return req, fmt.Errorf("for %q: want a duration, such as 90s or 2h", text)
		}
		req.For = d
	}
	return req, nil
}
