package behaviour

import (
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fairway-mesh/fairway/conformance/behaviour/peer"
	"github.com/fairway-mesh/fairway/conformance/behaviour/record"
	"github.com/fairway-mesh/fairway/conformance/behaviour/scene"
)

const (
	pluginConfiguration = "00-fairway.conflist"
	pluginProgram       = "fairway-cni"
	pluginCredentials   = "fairway"
	// Until the plugin is in place again after somebody touched it.
	pluginLimit = 6 * time.Second
)

// nodeFolders are a node's CNI folders, as the installer of the plugin has them; open as long as the test.
type nodeFolders struct{ configurations, programs *os.Root }

func (s *stage) nodeFolders(node string) nodeFolders {
	s.Helper()
	process := s.process(s.tunnels()[node], pluginProgram)
	open := func(name string) *os.Root {
		folder, err := process.Folder(name)
		s.must(err)
		s.Cleanup(func() { _ = folder.Close() })
		return folder
	}
	return nodeFolders{open("/host/etc/cni/net.d"), open("/host/opt/cni/bin")}
}

// others' configuration: the one that the plugin's is made of.
func (s *stage) others(folder *os.Root) (name string) {
	s.Helper()
	entries, err := scene.Entries(folder)
	s.must(err)
	entries = slices.DeleteFunc(entries, func(it string) bool { return path.Ext(it) != ".conflist" || it == pluginConfiguration })
	if len(entries) == 0 {
		s.Fatal("the node has no CNI configuration of its own")
	}
	return entries[0]
}

var _ = promised(TestMeshPluginStays, beforeRelease,
	"CNI configuration that is rewritten or removed has our plugin again within 6 s.")

// Somebody writes the node's own CNI configuration anew, or takes ours away: the plugin stays.
func TestMeshPluginStays(t *testing.T) {
	s := begin(t, "plugin")
	node := s.nodes()[0]
	folders := s.nodeFolders(node)
	name := s.others(folders.configurations)
	theirs, err := folders.configurations.ReadFile(name)
	s.must(err)
	s.Cleanup(func() { s.must(folders.configurations.WriteFile(name, theirs, 0o644)) })
	within := func(s *stage, what string, there func() bool) {
		s.Helper()
		took := s.until(ample, what, func() (string, error) { return missing(there(), "it is not"), nil })
		s.figure(what+" after", took.Seconds(), "s", record.AtMost(pluginLimit.Seconds()))
	}
	ours := func() string {
		text, _ := folders.configurations.ReadFile(pluginConfiguration)
		return string(text)
	}
	s.part("their file is written anew", func(s *stage) {
		changed := strings.Replace(string(theirs), `"plugins"`, `"disableCheck": true, "plugins"`, 1)
		s.must(folders.configurations.WriteFile(name, []byte(changed), 0o644))
		within(s, "the change is in ours", func() bool { return strings.Contains(ours(), "disableCheck") })
		if !strings.Contains(ours(), pluginProgram) {
			s.Errorf("the plugin is not in it:\n%s", ours())
		}
	})
	s.part("their file is half written", func(s *stage) {
		before := ours()
		s.must(folders.configurations.WriteFile(name, theirs[:len(theirs)/2], 0o644))
		s.watch(pluginLimit)
		if ours() != before {
			s.Errorf("ours was changed:\n%s", ours())
		}
		s.must(folders.configurations.WriteFile(name, theirs, 0o644))
		within(s, "ours is as it was", func() bool { return !strings.Contains(ours(), "disableCheck") && ours() != "" })
	})
	s.part("ours is removed", func(s *stage) {
		s.must(folders.configurations.Remove(pluginConfiguration))
		within(s, "it is there again", func() bool { return strings.Contains(ours(), pluginProgram) })
	})
	s.part("the program is removed", func(s *stage) {
		s.must(folders.programs.Remove(pluginProgram))
		within(s, "it is there again", func() bool { _, err := folders.programs.Stat(pluginProgram); return err == nil })
	})
	s.part("and pods of the mesh start captured", func(s *stage) {
		s.meshed()
		s.pod("pod", node, "", "", "")
		s.ready("pod")
		s.captured("pod")
	})
}

var _ = promised(TestMeshNodeProgramsKilled, beforeRelease,
	"With kubelet and containerd killed, what runs goes on in its tunnels, and what starts afterwards starts captured.")

// Kubelet and the container runtime of a node are killed: what runs goes on in its tunnels, and what starts after starts captured.
func TestMeshNodeProgramsKilled(t *testing.T) {
	s := begin(t, "programs")
	nodes := s.nodes()
	pods := s.meshedPair()
	tap := s.tap(pods...)
	for i, pod := range pods {
		for _, program := range []string{"kubelet", "containerd"} {
			s.part(program+" of "+nodes[i], func(s *stage) {
				// The one of the node's programs that watches over all others is two above a pod's.
				shim, err := s.process(pod, "backend").Parent()
				s.must(err)
				first, err := shim.Parent()
				s.must(err)
				process, err := first.Child(program)
				s.must(err)
				s.must(process.Kill())
				s.until(ample, program+" to be back", func() (string, error) {
					again, err := first.Child(program)
					return missing(err == nil && again != process, "it is not"), nil
				})
				name := program + "-" + nodes[i]
				s.pod(name, nodes[i], "", "", "")
				s.ready(name)
				s.captured(name)
				s.well("connections", "client", port("server", 7002), peer.Echo, "-times", "20")
				s.well("connections to what started after", "client", port(name, 7002), peer.Echo, "-times", "20")
			})
		}
	}
	if count := restarts(s.ready("client", "server")); count != 0 {
		s.Errorf("%d containers were restarted", count)
	}
	s.onlyTunnels(tap)
}
