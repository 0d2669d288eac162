package behaviour

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/fairway-mesh/fairway/conformance/behaviour/record"
	"github.com/fairway-mesh/fairway/conformance/behaviour/scene"
)

// What the tests are told by fwcluster.
var (
	kubeconfig = flag.String("kubeconfig", "", "the cluster; without one nothing is tested")
	kubectl    = flag.String("kubectl", "kubectl", "kubectl's file")
	helm       = flag.String("helm", "helm", "Helm's file")
	fairway    = flag.String("fairway", "", "the file of the program fairway; without one it is not tested")
	charts     = flag.String("charts", "", "folder of our charts")
	image      = flag.String("backend-image", "", "image of the backends")
	reports    = flag.String("report-dir", "", "where results.json goes, and for a failed test logs and objects")
	own        = flag.Bool("own", false, "the nodes are on this machine: their processes can be looked at, and killed")
	reboot     = flag.String("reboot", "", "command that cuts a node off from power and starts it again; the node's name is put behind it")
	keep       = flag.Bool("keep", false, "leave the namespaces of tests")
)

var (
	cluster *scene.Cluster
	book    *record.Book
)

func TestMain(m *testing.M) {
	flag.Parse()
	if *kubeconfig == "" {
		fmt.Println("behaviour: no cluster given (-kubeconfig); `fwcluster behaviour` gives one")
		return
	}
	var err error
	if cluster, err = scene.Open(*kubeconfig); err != nil {
		fmt.Fprintln(os.Stderr, "behaviour:", err)
		os.Exit(1)
	}
	path := ""
	if *reports != "" {
		path = filepath.Join(*reports, "results.json")
	}
	book = record.NewBook(path)
	os.Exit(m.Run())
}
