package admin

import (
	"context"
	"fmt"
	"net"
	"os/user"
	"strconv"
	"syscall"
)

// callerKey is where a connection's context has the user at the other end.
type callerKey struct{}

// withCaller notes who has opened a connection, by the kernel's word (SO_PEERCRED,
// unix(7)), for http.Server.ConnContext.
func withCaller(ctx context.Context, conn net.Conn) context.Context {
	c, ok := conn.(*net.UnixConn)
	if !ok {
		return ctx
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return ctx
	}
	var cred *syscall.Ucred
	var cerr error
	if err := raw.Control(func(fd uintptr) {
		cred, cerr = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	}); err != nil || cerr != nil {
		return ctx
	}
	return context.WithValue(ctx, callerKey{}, cred.Uid)
}

// caller is the user at the other end of a request: the name that this machine has for
// it, else the number.
func caller(ctx context.Context) string {
	uid, ok := ctx.Value(callerKey{}).(uint32)
	if !ok {
		return "unknown user"
	}
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return fmt.Sprintf("uid %s", id)
}
