package wire

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A tap of loopback, which is among the machine's own: run as root.
func tapped(t *testing.T, among ...string) *Tap {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("packets: run as root")
	}
	tap, err := Listen(among...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tap.Close)
	return tap
}

// talk has connections to a server on an address, over which `said` bytes go, and returns its port.
func talk(t *testing.T, address string, connections, said int) uint16 {
	t.Helper()
	// The side with the lower port is taken for the server.
	var listener net.Listener
	err := errors.New("no port")
	for port := 20_000; err != nil && port < 30_000; port++ {
		listener, err = net.Listen("tcp", net.JoinHostPort(address, strconv.Itoa(port)))
	}
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for range connections {
		client, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		server, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Write(make([]byte, said)); err != nil {
			t.Fatal(err)
		}
		_ = client.Close()
		if _, err := io.Copy(io.Discard, server); err != nil {
			t.Fatal(err)
		}
		_ = server.Close()
	}
	return listener.Addr().(*net.TCPAddr).AddrPort().Port()
}

// stall keeps a tap from reading while something is sent, and for a moment longer.
func stall(tap *Tap, send func()) {
	tap.mu.Lock()
	send()
	time.AfterFunc(50*time.Millisecond, tap.mu.Unlock)
}

func TestWhatWasSentBeforeIsCounted(t *testing.T) {
	tap := tapped(t, "127.0.0.1", "127.0.0.2")
	for round := range 5 {
		var port uint16
		stall(tap, func() {
			talk(t, "127.0.0.1", 100, 100)
			port = talk(t, "127.0.0.2", 1, 1000)
		})
		flows, err := tap.Flows()
		if err != nil {
			t.Fatal(err)
		}
		// On loopback a packet is seen when it goes and when it comes.
		last := flows[Flow{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2"), port}]
		if last.Bytes != 2000 {
			t.Errorf("round %d: %d bytes were counted of 1000, twice; in all: %s", round, last.Bytes, flows)
		}
		stall(tap, func() { talk(t, "127.0.0.1", 100, 100) })
		if err := tap.Reset(); err != nil {
			t.Fatal(err)
		}
		if flows, err = tap.Flows(); err != nil || len(flows) != 0 {
			t.Errorf("round %d: after Reset is counted what was sent before: %s, %v", round, flows, err)
		}
	}
}

func TestPacketsThatAreLostAreAnError(t *testing.T) {
	tap := tapped(t, "127.0.0.1")
	if err := unix.SetsockoptInt(tap.socket, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<10); err != nil {
		t.Fatal(err)
	}
	stall(tap, func() { talk(t, "127.0.0.1", 200, 100) })
	for range 2 {
		// Marks that are lost as well would have it wait: it asks when the tap reads again.
		time.Sleep(100 * time.Millisecond)
		if flows, err := tap.Flows(); err == nil || !strings.Contains(err.Error(), "packets are not counted") {
			t.Errorf("want an error, got %v with %s", err, flows)
		}
	}
	if err := tap.Reset(); err != nil {
		t.Fatal(err)
	}
	port := talk(t, "127.0.0.1", 1, 1)
	if flows, err := tap.Flows(); err != nil || !slices.Equal(flows.Ports(), []uint16{port}) {
		t.Errorf("after Reset: ports %v, %v, want %d", flows.Ports(), err, port)
	}
}

func TestOthersAreNotCounted(t *testing.T) {
	tap := tapped(t, "127.0.0.9")
	talk(t, "127.0.0.1", 3, 100)
	if flows, err := tap.Flows(); err != nil || len(flows) != 0 {
		t.Errorf("counted: %s, %v", flows, err)
	}
}
