package cluster

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/fairway-mesh/fairway/conformance/internal/image"
	"github.com/fairway-mesh/fairway/conformance/internal/machine"
)

// Load imports an image on every node, unless a node has exactly this one. It says whether any node took it.
func (l Layout) Load(img image.Image) (changed bool, err error) {
	var archive bytes.Buffer
	if err := img.Archive(&archive); err != nil {
		return false, err
	}
	sum := sha256.Sum256(archive.Bytes())
	digest := hex.EncodeToString(sum[:])
	machines := l.Machines()
	nodes := Nodes()
	took, failed := make([]bool, len(nodes)), make([]error, len(nodes))
	var all sync.WaitGroup
	for i, node := range nodes {
		m := machines[node.Name]
		if m == nil {
			return false, fmt.Errorf("node %s does not run; `up` starts it", node.Name)
		}
		all.Go(func() { took[i], failed[i] = l.loadOn(m, img.Tags, digest, archive.Bytes()) })
	}
	all.Wait()
	for i := range nodes {
		changed = changed || took[i]
		if failed[i] != nil {
			err = fmt.Errorf("image %s on %s: %w", img.Tags[0], nodes[i].Name, failed[i])
		}
	}
	return changed, err
}

func (l Layout) loadOn(m *machine.Machine, tags []string, digest string, archive []byte) (bool, error) {
	note := filepath.Join(l.machineDir(m.Spec.Name), "images", strings.NewReplacer("/", "_", ":", "_").Replace(tags[0]))
	if raw, err := os.ReadFile(note); err == nil && string(raw) == digest {
		return false, nil
	}
	cmd := m.Exec("ctr", "--namespace", "k8s.io", "images", "import", "-")
	cmd.Stdin = bytes.NewReader(archive)
	if _, err := machine.Output(cmd); err != nil {
		return false, err
	}
	if err := os.MkdirAll(filepath.Dir(note), 0o755); err != nil {
		return true, err
	}
	return true, os.WriteFile(note, []byte(digest), 0o644)
}
