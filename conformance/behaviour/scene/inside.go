package scene

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Dial connects to an IP address as a program of the process's pod would: from within its network namespace.
func (p Process) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	type outcome struct {
		conn net.Conn
		err  error
	}
	done := make(chan outcome, 1)
	go func() {
		// The thread has another network from here on. It is never unlocked, so it ends with this.
		runtime.LockOSThread()
		var out outcome
		if out.err = p.enter(); out.err == nil {
			out.conn, out.err = (&net.Dialer{}).DialContext(ctx, network, address)
		}
		done <- out
	}()
	out := <-done
	return out.conn, out.err
}

func (p Process) enter() error {
	namespace, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", int(p)))
	if err != nil {
		return err
	}
	defer namespace.Close()
	return unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET)
}
