// Package wire looks at the packets of the network that the tests run on.
package wire

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Flow is what TCP segments with a payload, or the first of a connection, have in common. Both directions are one flow.
type Flow struct {
	Client, Server netip.Addr
	// Port of the server.
	Port uint16
}

// Tap counts the packets of TCP between some addresses.
type Tap struct {
	socket int
	mu     sync.Mutex
	flows  map[Flow]int
	among  []netip.Prefix
	over   sync.WaitGroup
}

// Listen begins to look at what goes between these addresses and networks, on every interface of this network namespace.
func Listen(among ...string) (*Tap, error) {
	socket, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(htons(unix.ETH_P_ALL)))
	if err != nil {
		return nil, fmt.Errorf("a packet socket: %w", err)
	}
	_ = unix.SetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20)
	// So that it notices that it is to stop.
	if err := unix.SetsockoptTimeval(socket, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000}); err != nil {
		_ = unix.Close(socket)
		return nil, err
	}
	tap := &Tap{socket: socket, flows: map[Flow]int{}}
	for _, text := range among {
		prefix, err := parsePrefix(text)
		if err != nil {
			_ = unix.Close(socket)
			return nil, err
		}
		tap.among = append(tap.among, prefix)
	}
	tap.over.Go(tap.read)
	return tap, nil
}

// parsePrefix reads a network, or an address as one of its own.
func parsePrefix(text string) (netip.Prefix, error) {
	if strings.Contains(text, "/") {
		return netip.ParsePrefix(text)
	}
	address, err := netip.ParseAddr(text)
	return netip.PrefixFrom(address, address.BitLen()), err
}

func (t *Tap) isAmong(address netip.Addr) bool {
	return slices.ContainsFunc(t.among, func(it netip.Prefix) bool { return it.Contains(address) })
}

// Flows counted so far, by who connected to which port of whom.
func (t *Tap) Flows() map[Flow]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	flows := make(map[Flow]int, len(t.flows))
	for flow, count := range t.flows {
		flows[flow] = count
	}
	return flows
}

// Reset forgets what was counted.
func (t *Tap) Reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.flows)
}

// Ports that were connected to, or spoken with.
func (t *Tap) Ports() []uint16 {
	var ports []uint16
	for flow := range t.Flows() {
		ports = append(ports, flow.Port)
	}
	slices.Sort(ports)
	return slices.Compact(ports)
}

// String is for people.
func (t *Tap) String() string {
	var lines []string
	for flow, count := range t.Flows() {
		lines = append(lines, fmt.Sprintf("%s → %s:%d: %d packets", flow.Client, flow.Server, flow.Port, count))
	}
	slices.Sort(lines)
	return strings.Join(lines, "; ")
}

// Close ends it.
func (t *Tap) Close() {
	_ = unix.Shutdown(t.socket, unix.SHUT_RDWR)
	t.mu.Lock()
	t.among = nil
	t.mu.Unlock()
	t.over.Wait()
}

func (t *Tap) read() {
	defer func() { _ = unix.Close(t.socket) }()
	buffer := make([]byte, 256) // headers are enough
	for {
		length, _, err := unix.Recvfrom(t.socket, buffer, 0)
		t.mu.Lock()
		over := len(t.among) == 0
		if err == nil && !over {
			if flow, is := parse(buffer[:length]); is && t.isAmong(flow.Client) && t.isAmong(flow.Server) {
				t.flows[flow]++
			}
		}
		t.mu.Unlock()
		if over || err != nil && err != unix.EAGAIN && err != unix.EINTR {
			return
		}
		if err != nil {
			time.Sleep(time.Millisecond)
		}
	}
}

// parse reads an IP packet. The side with the lower port is taken for the server: ports of clients are high.
func parse(packet []byte) (Flow, bool) {
	source, target, segment, is := unwrap(packet)
	if !is || len(segment) < 14 {
		return Flow{}, false
	}
	from, to := binary.BigEndian.Uint16(segment), binary.BigEndian.Uint16(segment[2:])
	const reset = 4
	if segment[13]&reset != 0 {
		return Flow{}, false // says that nobody is there
	}
	if from < to {
		source, target, to = target, source, from
	}
	return Flow{Client: source, Server: target, Port: to}, true
}

// unwrap finds the TCP segment of a packet: of IPv4's fragments the first, of IPv6 where no header stands between.
func unwrap(packet []byte) (source, target netip.Addr, segment []byte, is bool) {
	const ipv4, ipv6 = 20, 40
	switch {
	case len(packet) >= ipv4 && packet[0]>>4 == 4 && packet[9] == unix.IPPROTO_TCP:
		header := int(packet[0]&15) * 4
		if len(packet) < header || binary.BigEndian.Uint16(packet[6:])&0x1fff != 0 {
			return source, target, nil, false
		}
		source, _ = netip.AddrFromSlice(packet[12:16])
		target, _ = netip.AddrFromSlice(packet[16:20])
		return source, target, packet[header:], true
	case len(packet) >= ipv6 && packet[0]>>4 == 6 && packet[6] == unix.IPPROTO_TCP:
		source, _ = netip.AddrFromSlice(packet[8:24])
		target, _ = netip.AddrFromSlice(packet[24:40])
		return source, target, packet[ipv6:], true
	}
	return source, target, nil, false
}

func htons(value uint16) uint16 { return value<<8 | value>>8 }
