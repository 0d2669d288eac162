// Package wire looks at the packets of the network that the tests run on.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"golang.org/x/net/bpf"
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

// Flows by who connected to which port of whom.
type Flows map[Flow]Seen

// Ports that were connected to, or spoken with.
func (f Flows) Ports() []uint16 {
	var ports []uint16
	for flow := range f {
		ports = append(ports, flow.Port)
	}
	slices.Sort(ports)
	return slices.Compact(ports)
}

// String is for people.
func (f Flows) String() string {
	var lines []string
	for flow, seen := range f {
		lines = append(lines, fmt.Sprintf("%s → %s:%d: %d packets, %d bytes, first %s",
			flow.Client, flow.Server, flow.Port, seen.Packets, seen.Bytes, seen.First))
	}
	slices.Sort(lines)
	return strings.Join(lines, "; ")
}

// Tap counts the packets of TCP between some addresses.
type Tap struct {
	socket int
	marks  *net.UDPConn
	over   sync.WaitGroup
	mu     sync.Mutex
	closed bool
	flows  Flows
	// lost packets: the kernel had no room for them.
	lost uint32
	// round of marks that is under way, and how many of it have been read.
	round uint64
	read  int
}

// Listen begins to look at what goes between these addresses and networks, on every interface of this network namespace.
func Listen(among ...string) (*Tap, error) {
	var networks []netip.Prefix
	for _, text := range among {
		prefix, err := parsePrefix(text)
		if err != nil {
			return nil, err
		}
		networks = append(networks, prefix)
	}
	marks, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, fmt.Errorf("a socket for marks: %w", err)
	}
	socket, err := open(filter(networks, portOf(marks)))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("a packet socket: %w", err), marks.Close())
	}
	tap := &Tap{socket: socket, marks: marks, flows: Flows{}}
	tap.over.Go(tap.readAll)
	return tap, nil
}

// open a packet socket that gets nothing but what a filter lets pass.
func open(filter []bpf.Instruction) (int, error) {
	raw, err := bpf.Assemble(filter)
	if err != nil {
		return 0, err
	}
	program := make([]unix.SockFilter, len(raw))
	for i, it := range raw {
		program[i] = unix.SockFilter{Code: it.Op, Jt: it.Jt, Jf: it.Jf, K: it.K}
	}
	// Without a protocol it gets nothing, until it is bound.
	socket, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	_ = unix.SetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20)
	err = errors.Join(
		unix.SetsockoptSockFprog(socket, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}),
		// So that it notices that it is to stop.
		unix.SetsockoptTimeval(socket, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000}),
		unix.Bind(socket, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL)}),
	)
	if err != nil {
		return 0, errors.Join(err, unix.Close(socket))
	}
	return socket, nil
}

// parsePrefix reads a network, or an address as one of its own.
func parsePrefix(text string) (netip.Prefix, error) {
	if strings.Contains(text, "/") {
		return netip.ParsePrefix(text)
	}
	address, err := netip.ParseAddr(text)
	return netip.PrefixFrom(address, address.BitLen()), err
}

// Flows are what was counted of all that was sent before. It is an error if packets were lost.
func (t *Tap) Flows() (Flows, error) {
	if err := t.catchUp(); err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.lost > 0 {
		return nil, fmt.Errorf("the tap was too slow: %d packets are not counted", t.lost)
	}
	return maps.Clone(t.flows), nil
}

// Reset forgets what was sent before.
func (t *Tap) Reset() error {
	if err := t.catchUp(); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.flows)
	t.lost = 0
	return nil
}

// Close ends it.
func (t *Tap) Close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.over.Wait()
	_ = t.marks.Close()
}

func (t *Tap) readAll() {
	defer func() { _ = unix.Close(t.socket) }()
	buffer := make([]byte, headers)
	for {
		length, from, err := unix.Recvfrom(t.socket, buffer, 0)
		t.mu.Lock()
		closed := t.closed
		if err == nil && !closed {
			t.take(buffer[:length], from)
		}
		t.mu.Unlock()
		if closed || err != nil && err != unix.EAGAIN && err != unix.EINTR {
			return
		}
	}
}

// take counts a packet that the filter let pass: a mark, or a segment of TCP.
func (t *Tap) take(packet []byte, from unix.Sockaddr) {
	if round, is := markOf(packet); is {
		// It is seen when it goes and when it comes.
		if link, _ := from.(*unix.SockaddrLinklayer); link != nil && link.Pkttype != unix.PACKET_OUTGOING && round == t.round {
			t.read++
		}
		return
	}
	if flow, segment, is := parse(packet); is {
		t.flows[flow] = t.flows[flow].and(segment)
	}
}

// segment of TCP: who sent it, and what it is.
type segment struct {
	from, to netip.AddrPort
	flags    byte
	// payload is how many bytes it carries.
	payload int
}

const reset = 4

// and counts one more packet.
func (s Seen) and(it segment) Seen {
	if s.Packets == 0 {
		s.First = fmt.Sprintf("%s > %s [%s]", it.from, it.to, flagsOf(it.flags))
	}
	s.Packets++
	s.Bytes += it.payload
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
	source, target, header, length, is := unwrap(packet)
	if !is || len(packet) < header+14 {
		return Flow{}, segment{}, false
	}
	tcp := packet[header:]
	it := segment{
		from:    netip.AddrPortFrom(source, binary.BigEndian.Uint16(tcp)),
		to:      netip.AddrPortFrom(target, binary.BigEndian.Uint16(tcp[2:])),
		flags:   tcp[13],
		payload: max(length-header-int(tcp[12]>>4)*4, 0),
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

// unwrap finds where the TCP segment of a packet begins, and how long the packet is: of IPv4's fragments the first, of IPv6 where no header
// stands between.
func unwrap(packet []byte) (source, target netip.Addr, header, length int, is bool) {
	const ipv4, ipv6 = 20, 40
	switch {
	case len(packet) >= ipv4 && packet[0]>>4 == 4 && packet[9] == unix.IPPROTO_TCP:
		header = int(packet[0]&15) * 4
		if len(packet) < header || binary.BigEndian.Uint16(packet[6:])&0x1fff != 0 {
			return source, target, 0, 0, false
		}
		source, _ = netip.AddrFromSlice(packet[12:16])
		target, _ = netip.AddrFromSlice(packet[16:20])
		return source, target, header, int(binary.BigEndian.Uint16(packet[2:])), true
	case len(packet) >= ipv6 && packet[0]>>4 == 6 && packet[6] == unix.IPPROTO_TCP:
		source, _ = netip.AddrFromSlice(packet[8:24])
		target, _ = netip.AddrFromSlice(packet[24:40])
		return source, target, ipv6, ipv6 + int(binary.BigEndian.Uint16(packet[4:])), true
	}
	return source, target, 0, 0, false
}

func htons(value uint16) uint16 { return value<<8 | value>>8 }
