package wire

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

const marksPort = 40000

// packet of IP with the ports of TCP or UDP in it.
func packet(protocol byte, from, to netip.AddrPort) []byte {
	var head []byte
	if from.Addr().Is4() {
		head = make([]byte, 20)
		head[0], head[9] = 0x45, protocol
		binary.BigEndian.PutUint16(head[2:], 40)
		copy(head[12:], from.Addr().AsSlice())
		copy(head[16:], to.Addr().AsSlice())
	} else {
		head = make([]byte, 40)
		head[0], head[6] = 0x60, protocol
		binary.BigEndian.PutUint16(head[4:], 20)
		copy(head[8:], from.Addr().AsSlice())
		copy(head[24:], to.Addr().AsSlice())
	}
	head = binary.BigEndian.AppendUint16(head, from.Port())
	head = binary.BigEndian.AppendUint16(head, to.Port())
	return append(head, make([]byte, 16)...)
}

// passes says whether a filter for these networks lets a packet pass.
func passes(t *testing.T, among []netip.Prefix, packet []byte) bool {
	t.Helper()
	machine, err := bpf.NewVM(filter(among, marksPort))
	if err != nil {
		t.Fatal(err)
	}
	kept, err := machine.Run(packet)
	if err != nil {
		t.Fatal(err)
	}
	return kept > 0
}

func TestTheFilterPassesTCPAmongTheNetworksAndMarks(t *testing.T) {
	among := []netip.Prefix{
		netip.MustParsePrefix("10.244.1.7/32"), netip.MustParsePrefix("10.244.2.0/23"), netip.MustParsePrefix("fd00::7/128"), netip.MustParsePrefix("fd00:0:0:1::/63"),
	}
	const tcp, udp = unix.IPPROTO_TCP, unix.IPPROTO_UDP
	for _, c := range []struct {
		protocol byte
		from, to string
		want     bool
	}{
		{tcp, "10.244.1.7:50000", "10.244.2.9:80", true},
		{tcp, "10.244.3.255:80", "10.244.1.7:50000", true},
		{tcp, "10.244.1.7:50000", "10.244.4.9:80", false},
		{tcp, "10.244.1.8:50000", "10.244.2.9:80", false},
		{udp, "10.244.1.7:50000", "10.244.2.9:53", false},
		{unix.IPPROTO_ICMP, "10.244.1.7:1", "10.244.2.9:1", false},
		{tcp, "[fd00::7]:50000", "[fd00::1:0:0:0:9]:80", true},
		{tcp, "[fd00::7]:50000", "[fd00::2:0:0:0:9]:80", false},
		{tcp, "[fd01::8]:50000", "[fd00::7]:80", false},
		{udp, "[fd00::7]:50000", "[fd00::7]:80", false},
		{udp, "127.0.0.1:40000", "127.0.0.1:40000", true},
		{udp, "127.0.0.1:40000", "127.0.0.1:40001", false},
		{udp, "10.244.1.7:40000", "10.244.1.7:40000", false},
		{tcp, "127.0.0.1:40000", "127.0.0.1:40000", false},
	} {
		sent := packet(c.protocol, netip.MustParseAddrPort(c.from), netip.MustParseAddrPort(c.to))
		if got := passes(t, among, sent); got != c.want {
			t.Errorf("protocol %d, %s to %s: passes: %t, want %t", c.protocol, c.from, c.to, got, c.want)
		}
	}
	other := packet(tcp, netip.MustParseAddrPort("10.244.1.7:1"), netip.MustParseAddrPort("10.244.1.7:2"))
	other[0] = 0x55
	if passes(t, among, other) {
		t.Error("a packet of no version of IP passes")
	}
}

// The filter agrees with netip about every network.
func TestTheFilterAgreesAboutNetworks(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	address := func(six bool) netip.Addr {
		// Few bits differ, so that networks are hit.
		raw := [16]byte{0: 0xfd, 3: byte(random.IntN(2)), 4: byte(random.IntN(4)), 7: byte(random.IntN(2) << 7), 12: byte(random.IntN(2)), 15: byte(random.IntN(4))}
		if six {
			return netip.AddrFrom16(raw)
		}
		return netip.AddrFrom4([4]byte{10, raw[3], raw[12], raw[15]})
	}
	passed := 0
	for range 20_000 {
		var among []netip.Prefix
		for range random.IntN(6) {
			it := address(random.IntN(2) == 0)
			among = append(among, netip.PrefixFrom(it, random.IntN(it.BitLen()+1)))
		}
		six := random.IntN(2) == 0
		from, to := address(six), address(six)
		holds := func(it netip.Addr) bool {
			return slices.ContainsFunc(among, func(network netip.Prefix) bool { return network.Contains(it) })
		}
		want := holds(from) && holds(to)
		if got := passes(t, among, packet(unix.IPPROTO_TCP, netip.AddrPortFrom(from, 50000), netip.AddrPortFrom(to, 80))); got != want {
			t.Fatalf("%s to %s among %v: passes: %t, want %t", from, to, among, got, want)
		}
		if want {
			passed++
		}
	}
	if passed < 1000 {
		t.Errorf("only %d packets were to pass", passed)
	}
}
