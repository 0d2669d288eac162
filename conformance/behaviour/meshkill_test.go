package behaviour

import (
	"context"
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fairway-mesh/fairway/conformance/behaviour/peer"
	"github.com/fairway-mesh/fairway/conformance/behaviour/record"
	"github.com/fairway-mesh/fairway/conformance/behaviour/wire"
)

const (
	killedRounds    = 5
	fewKilledRounds = 2
)

var _ = promised(TestMeshKilledTunnel, everyChange,
	"A tunnel that is killed, five times (at every change twice), just after it heard of a pod still knows, when it is back, that the pod is in the mesh.")

// A tunnel is killed a moment after it heard of a pod. When it is back it still knows that the pod is in the mesh: what it keeps in a
// file may be older, and would have it speak to that pod in plaintext.
func TestMeshKilledTunnel(t *testing.T) {
	s := begin(t, "killed")
	nodes := s.nodes()
	s.meshed()
	s.pod("client", nodes[0], "", "", "")
	client := netip.MustParseAddr(podIP(s.ready("client")[0]))
	s.captured("client")
	tap := s.tapBetween("0.0.0.0/0")
	changing, stop := context.WithCancel(s.ctx)
	defer stop()
	var changes atomic.Int64
	go s.changeForever(changing, &changes)
	plain := 0
	for round := range rounds(fewKilledRounds, killedRounds) {
		name := fmt.Sprintf("server%d", round)
		process := s.process(s.tunnels()[nodes[0]], ztunnelName)
		s.forget(tap)
		load := s.requestsAnyway("client", port(name, 8080), 50, 4, "-once")
		s.pod(name, nodes[1], "", "", "")
		s.until(ample, "the first tunnel to "+name, func() (string, error) {
			server, err := netip.ParseAddr(podIP(s.get("Pod", name)))
			if err != nil {
				return "it has no address", nil
			}
			_, is := s.flows(tap)[wire.Flow{Client: client, Server: server, Port: tunnelPort}]
			return missing(is, "none"), nil
		})
		// What came just now is not on the disk yet, for something has come all the time.
		if changes.Swap(0) == 0 {
			s.Fatal("nothing has changed meanwhile")
		}
		s.watch(time.Duration(round) * 100 * time.Millisecond)
		s.must(process.Kill())
		start := time.Now()
		s.until(time.Minute, "connections to go again", func() (string, error) {
			report := s.try("client", port(name, 7002), peer.Echo, "-timeout", "2s")
			return missing(report.Done > 0, report.String()), nil
		})
		s.figure("killed to going again", time.Since(start).Seconds(), "s", nil)
		s.Logf("requests: %s", s.stop(load))
		server := netip.MustParseAddr(podIP(s.get("Pod", name)))
		for flow, seen := range s.flows(tap) {
			if flow.Client == client && flow.Server == server {
				s.Logf("to port %d: %+v", flow.Port, seen)
				if flow.Port != tunnelPort {
					plain += seen.Packets
				}
			}
		}
		// Another pod of the DaemonSet: kubelet would let this one wait longer from kill to kill.
		killed := s.tunnels()[nodes[0]].GetName()
		s.must(cluster.Delete(s.ctx, "Pod", systemNamespace, killed))
		s.until(ample, "another tunnel", func() (string, error) {
			now := s.tunnels()[nodes[0]]
			return missing(now != nil && now.GetName() != killed, "it is still "+killed), nil
		})
		s.tunnelsRolledOut()
	}
	s.figure("packets in plaintext", float64(plain), "", record.AtMost(0))
}

// changeForever changes the ports of a Service that nobody uses, so that the tunnels have a new configuration all the time.
func (s *stage) changeForever(ctx context.Context, changes *atomic.Int64) {
	pace := time.NewTicker(50 * time.Millisecond)
	defer pace.Stop()
	for i := 0; ctx.Err() == nil; i++ {
		if s.patch("Service", s.namespace, "client", fmt.Sprintf(`{"spec":{"ports":[{"name":"extra","port":%d}]}}`, 9000+i%500)) == nil {
			changes.Add(1)
		}
		// Not watch: this ends with the test, and that is no fault of it.
		select {
		case <-ctx.Done():
		case <-pace.C:
		}
	}
}
