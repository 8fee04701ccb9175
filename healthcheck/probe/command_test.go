package probe

import (
	"context"
	"testing"
	"time"
)

// Whatever runs as a command is held to the same; what a script's tests say is not repeated.
func TestCommand(t *testing.T) {
	as := ordinary(t)
	for _, tt := range []struct{ name, script, want string }{
		{"success", "exit 0", ""},
		{"a status that would bring a script a weight", "echo why; exit 2", "exit status 2: why"},
		{"its own environment", `echo "$LANG $HADIRECTOR_EVENT $HADIRECTOR_ADDRESS"; exit 1`, "exit status 1: C quorum-up 10.0.0.100:80 10.0.0.101:80"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := Command{Args: []string{"/bin/sh", "-c", tt.script}, User: as, Timeout: time.Minute,
				Env: []string{"HADIRECTOR_EVENT=quorum-up", "HADIRECTOR_ADDRESS=10.0.0.100:80 10.0.0.101:80"}}
			checkCause(t, c.Run(t.Context()), tt.want)
		})
	}
}

func TestCommandThatHangs(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	c := Command{Args: []string{"/bin/sh", "-c", "echo waits; sleep 1000"}, User: ordinary(t), Timeout: 50 * time.Millisecond}
	checkCause(t, c.Run(ctx), "timeout after 50ms, killed: waits")
}
