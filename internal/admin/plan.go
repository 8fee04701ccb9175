package admin

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/internal/director"
)

// Planned is the outcome of a plan.
type Planned struct {
	// Mistakes are those of a file that a reload would refuse, in the order of their
	// places. With any there is no Plan.
	Mistakes []string `json:"mistakes"`
	director.Plan
}

// plan says what a reload would do.
func (s *Server) plan(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Query().Get("file")
	var text []byte
	if name != "" {
		var err error
		// One byte more than is allowed, so that the parser says what is wrong.
		if text, err = io.ReadAll(io.LimitReader(r.Body, conf.MaxFileSize+1)); err != nil {
			s.reply(w, http.StatusBadRequest, apiError{fmt.Sprintf("read the configuration: %v", err)})
			return
		}
		text = append([]byte{}, text...) // an empty one is one too
	}
	out, err := s.o.Plan(r.Context(), name, text)
	if err != nil {
		s.reply(w, http.StatusConflict, apiError{err.Error()})
		return
	}
	s.reply(w, http.StatusOK, out)
}

// Plan asks what a reload of the daemon's own file would do.
func (c *Client) Plan(ctx context.Context) (Planned, error) {
	var p Planned
	err := c.call(ctx, http.MethodPost, "/v1/plan", &p)
	return p, err
}

// PlanOf asks what a reload would do if the daemon's file had this text. Mistakes in it
// are named by name.
func (c *Client) PlanOf(ctx context.Context, name string, text []byte) (Planned, error) {
	var p Planned
	err := c.send(ctx, http.MethodPost, "/v1/plan?"+url.Values{"file": {name}}.Encode(), bytes.NewReader(text), &p)
	return p, err
}
