package wire

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// headers is how much of a packet is looked at.
const headers = 256

// filter has the kernel keep back all but TCP among these networks and the marks to a port of 127.0.0.1, and all but the headers of those: a tap
// that has to read what else goes by falls behind.
func filter(among []netip.Prefix, marks uint16) []bpf.Instruction {
	const (
		version, protocol, source, target = 0, 9, 12, 16
		next, source6, target6            = 6, 8, 24
	)
	var four, six []netip.Prefix
	for _, prefix := range among {
		if prefix.Addr().Is4() {
			four = append(four, prefix)
		} else {
			six = append(six, prefix)
		}
	}
	refuse, accept := bpf.RetConstant{Val: 0}, bpf.RetConstant{Val: headers}
	ipv4 := []bpf.Instruction{
		bpf.LoadAbsolute{Off: protocol, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.IPPROTO_TCP, SkipTrue: 8},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.IPPROTO_UDP, SkipTrue: 6},
		bpf.LoadAbsolute{Off: target, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: binary.BigEndian.Uint32([]byte{127, 0, 0, 1}), SkipTrue: 4},
		bpf.LoadMemShift{Off: version}, // the length of the header
		bpf.LoadIndirect{Off: 2, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(marks), SkipTrue: 1},
		accept,
		refuse,
	}
	ipv4 = append(ipv4, inOneOf(source, four)...)
	ipv4 = append(ipv4, inOneOf(target, four)...)
	ipv4 = append(ipv4, accept)
	ipv6 := []bpf.Instruction{
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 6, SkipTrue: 1},
		refuse,
		bpf.LoadAbsolute{Off: next, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.IPPROTO_TCP, SkipTrue: 1},
		refuse,
	}
	ipv6 = append(ipv6, inOneOf(source6, six)...)
	ipv6 = append(ipv6, inOneOf(target6, six)...)
	ipv6 = append(ipv6, accept)
	all := []bpf.Instruction{
		bpf.LoadAbsolute{Off: version, Size: 1},
		bpf.ALUOpConstant{Op: bpf.ALUOpShiftRight, Val: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 4, SkipTrue: 1},
		bpf.Jump{Skip: uint32(len(ipv4))},
	}
	return append(append(all, ipv4...), ipv6...)
}

// inOneOf goes on behind itself if the address at an offset is in one of these networks, and refuses the packet if it is in none.
func inOneOf(offset uint32, networks []netip.Prefix) []bpf.Instruction {
	block := []bpf.Instruction{bpf.RetConstant{Val: 0}}
	// From the last to the first: how far it is to the end is known then.
	for _, network := range slices.Backward(networks) {
		block = append(inNetwork(offset, network, uint32(len(block))), block...)
	}
	return block
}

// inNetwork skips so many instructions behind it if the address at an offset is in a network.
func inNetwork(offset uint32, network netip.Prefix, skip uint32) []bpf.Instruction {
	wanted, bits := network.Masked().Addr().AsSlice(), network.Bits()
	var words [][]bpf.Instruction
	for at := 0; at*8 < bits; at += 4 {
		word := []bpf.Instruction{bpf.LoadAbsolute{Off: offset + uint32(at), Size: 4}}
		if rest := bits - at*8; rest < 32 {
			word = append(word, bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: ^uint32(0) << (32 - rest)})
		}
		words = append(words, append(word, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: binary.BigEndian.Uint32(wanted[at:])}))
	}
	block := []bpf.Instruction{bpf.Jump{Skip: skip}}
	for _, word := range slices.Backward(words) {
		jump := word[len(word)-1].(bpf.JumpIf)
		jump.SkipTrue = uint8(len(block))
		word[len(word)-1] = jump
		block = append(word, block...)
	}
	return block
}
