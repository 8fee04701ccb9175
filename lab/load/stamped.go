package load

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// receiveBuffer holds what arrives while a busy machine does not run the reader.
const receiveBuffer = 4 << 20

// listen opens a raw socket where enter leads to. Every datagram gets the time at which the
// kernel took it from the wire, so that a reader who runs late measures the same.
func listen(network, address string, enter func() error, options func(fd int) error) (*net.IPConn, error) {
	var conn *net.IPConn
	err := within(enter, func() error {
		lc := net.ListenConfig{}
		pc, err := lc.ListenPacket(context.Background(), network, address)
		if err != nil {
			return err
		}
		conn = pc.(*net.IPConn)
		raw, err := conn.SyscallConn()
		if err == nil {
			var set error
			err = raw.Control(func(fd uintptr) {
				set = errors.Join(
					os.NewSyscallError("SO_TIMESTAMPNS", unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)),
					os.NewSyscallError("SO_RCVBUFFORCE", unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer)),
				)
				if set == nil && options != nil {
					set = options(int(fd))
				}
			})
			err = errors.Join(err, set)
		}
		if err != nil {
			conn.Close()
			return fmt.Errorf("listen for %s: %w", network, err)
		}
		return nil
	})
	return conn, err
}

// within calls open on a thread that enter has led to a machine, or anywhere without one.
func within(enter, open func() error) error {
	failed := make(chan error)
	go func() {
		if enter != nil {
			runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
			if err := enter(); err != nil {
				failed <- err
				return
			}
		}
		failed <- open()
	}()
	return <-failed
}

// datagram is what was read: who sent it, when it arrived, and what is in it, without the
// IPv4 header.
type datagram struct {
	from    net.IP
	at      time.Time
	payload []byte // valid until the next one is read
}

// each calls f for every datagram until ctx is done, and closes the socket.
func each(ctx context.Context, conn *net.IPConn, f func(datagram)) error {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	b, oob := make([]byte, 2048), make([]byte, 128)
	for {
		n, oobn, _, from, err := conn.ReadMsgIP(b, oob)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
		header := 0
		if n > 0 {
			header = int(b[0]&0x0f) * 4
		}
		if n < header {
			continue
		}
		f(datagram{from: from.IP, at: arrival(oob[:oobn]), payload: b[header:n]})
	}
}

// arrival is the time in a datagram's control messages; now, if the kernel gave none.
func arrival(oob []byte) time.Time {
	messages, _ := unix.ParseSocketControlMessage(oob)
	for _, m := range messages {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SO_TIMESTAMPNS && len(m.Data) >= 16 {
			return time.Unix(int64(binary.NativeEndian.Uint64(m.Data)), int64(binary.NativeEndian.Uint64(m.Data[8:])))
		}
	}
	return time.Now()
}
