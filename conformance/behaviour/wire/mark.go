package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// How long it may take until the tap has read what was sent before.
const patience = 20 * time.Second

// catchUp returns when all that was sent before has been read. The tap sends itself marks over loopback, which queue up behind it: one from each
// processor, for what a processor sends or receives waits in a queue of its own.
func (t *Tap) catchUp() error {
	t.mu.Lock()
	t.round++
	t.read = 0
	round := t.round
	t.mu.Unlock()
	sent, err := t.mark(round)
	if err != nil {
		return fmt.Errorf("marks for the tap: %w", err)
	}
	deadline := time.Now().Add(patience)
	for {
		t.mu.Lock()
		err := t.countLost()
		read, lost := t.read, t.lost
		t.mu.Unlock()
		switch {
		case err != nil || read >= sent:
			return err
		case time.Now().After(deadline):
			return fmt.Errorf("the tap has read %d of %d marks after %s; the kernel had no room for %d packets", read, sent, patience, lost)
		}
		time.Sleep(time.Millisecond)
	}
}

// countLost adds the packets for which the kernel had no room since it was asked last.
func (t *Tap) countLost() error {
	statistics, err := unix.GetsockoptTpacketStats(t.socket, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		return fmt.Errorf("how many packets the kernel dropped: %w", err)
	}
	t.lost += statistics.Drops
	return nil
}

// mark sends the marks of a round, and returns how many they are.
func (t *Tap) mark(round uint64) (count int, err error) {
	// The processors of this thread change, so that no other may run on it meanwhile.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, unix.SchedSetaffinity(0, &all)) }()
	text := binary.BigEndian.AppendUint64(nil, round)
	for cpu := 0; count < all.Count(); cpu++ {
		if !all.IsSet(cpu) {
			continue
		}
		var one unix.CPUSet
		one.Set(cpu)
		if err := unix.SchedSetaffinity(0, &one); err != nil {
			return count, err
		}
		if _, err := t.marks.WriteTo(text, t.marks.LocalAddr()); err != nil {
			return count, err
		}
		count++
	}
	return count, nil
}

// markOf is the round of a mark. The filter lets no other packets of UDP pass.
func markOf(packet []byte) (round uint64, is bool) {
	const ipv4, udp, text = 20, 8, 8
	if len(packet) < ipv4+udp+text || packet[0]>>4 != 4 || packet[9] != unix.IPPROTO_UDP {
		return 0, false
	}
	header := int(packet[0]&15) * 4
	if len(packet) < header+udp+text {
		return 0, false
	}
	return binary.BigEndian.Uint64(packet[header+udp:]), true
}

func portOf(conn *net.UDPConn) uint16 {
	return conn.LocalAddr().(*net.UDPAddr).AddrPort().Port()
}
