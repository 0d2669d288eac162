// Package wire looks at the packets of the network that the tests run on.
package wire

import (
	"encoding/binary"
	"fmt"
	"maps"
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

// Seen is what went by of a flow.
type Seen struct {
	// Packets in both directions.
	Packets int
	// Bytes that a program said.
	Bytes int
	// First packet: who sent it, and its flags.
	First string
}

// Tap counts the packets of TCP between some addresses.
type Tap struct {
	socket int
	mu     sync.Mutex
	flows  map[Flow]Seen
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
	tap := &Tap{socket: socket, flows: map[Flow]Seen{}}
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
func (t *Tap) Flows() map[Flow]Seen {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.flows)
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
	for flow, seen := range t.Flows() {
		lines = append(lines, fmt.Sprintf("%s → %s:%d: %d packets, %d bytes, first %s",
			flow.Client, flow.Server, flow.Port, seen.Packets, seen.Bytes, seen.First))
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
		length, _, err := unix.Recvfrom(t.socket, buffer, unix.MSG_TRUNC)
		t.mu.Lock()
		over := len(t.among) == 0
		if err == nil && !over {
			if flow, segment, is := parse(buffer[:min(length, len(buffer))]); is && t.isAmong(flow.Client) && t.isAmong(flow.Server) {
				t.flows[flow] = t.flows[flow].and(segment, length)
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

// segment of TCP: who sent it, and what it is.
type segment struct {
	from, to netip.AddrPort
	flags    byte
	// header is where its payload begins in the packet.
	header int
}

const reset = 4

// and counts one more packet, which was so long.
func (s Seen) and(it segment, length int) Seen {
	if s.Packets == 0 {
		s.First = fmt.Sprintf("%s > %s [%s]", it.from, it.to, flagsOf(it.flags))
	}
	s.Packets++
	s.Bytes += max(length-it.header, 0)
	return s
}

func flagsOf(flags byte) string {
	var names []string
	for bit, name := range []string{"FIN", "SYN", "RST", "PSH", "ACK", "URG"} {
		if flags&(1<<bit) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, " ")
}

// parse reads an IP packet. The side with the lower port is taken for the server: ports of clients are high.
func parse(packet []byte) (Flow, segment, bool) {
	source, target, header, is := unwrap(packet)
	if !is || len(packet) < header+14 {
		return Flow{}, segment{}, false
	}
	tcp := packet[header:]
	it := segment{
		from:   netip.AddrPortFrom(source, binary.BigEndian.Uint16(tcp)),
		to:     netip.AddrPortFrom(target, binary.BigEndian.Uint16(tcp[2:])),
		flags:  tcp[13],
		header: header + int(tcp[12]>>4)*4,
	}
	if it.flags&reset != 0 {
		return Flow{}, it, false // says that nobody is there
	}
	client, server := it.from, it.to
	if client.Port() < server.Port() {
		client, server = server, client
	}
	return Flow{Client: client.Addr(), Server: server.Addr(), Port: server.Port()}, it, true
}

// unwrap finds where the TCP segment of a packet begins: of IPv4's fragments the first, of IPv6 where no header stands between.
func unwrap(packet []byte) (source, target netip.Addr, header int, is bool) {
	const ipv4, ipv6 = 20, 40
	switch {
	case len(packet) >= ipv4 && packet[0]>>4 == 4 && packet[9] == unix.IPPROTO_TCP:
		header = int(packet[0]&15) * 4
		if len(packet) < header || binary.BigEndian.Uint16(packet[6:])&0x1fff != 0 {
			return source, target, 0, false
		}
		source, _ = netip.AddrFromSlice(packet[12:16])
		target, _ = netip.AddrFromSlice(packet[16:20])
		return source, target, header, true
	case len(packet) >= ipv6 && packet[0]>>4 == 6 && packet[6] == unix.IPPROTO_TCP:
		source, _ = netip.AddrFromSlice(packet[8:24])
		target, _ = netip.AddrFromSlice(packet[24:40])
		return source, target, ipv6, true
	}
	return source, target, 0, false
}

func htons(value uint16) uint16 { return value<<8 | value>>8 }
