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
	fairway    = flag.String("fairway", "", "the file of the program fairway; its test fails without one")
	charts     = flag.String("charts", "", "folder of our charts")
	image      = flag.String("backend-image", "", "image of the backends")
	reports    = flag.String("report-dir", "", "where results.json goes, and for a failed test logs and objects")
	own        = flag.Bool("own", false, "the nodes are on this machine: their processes can be looked at, and killed")
	reboot     = flag.String("reboot", "", "command that cuts a node off from power and starts it again; the node's name is put behind it")
	keep       = flag.Bool("keep", false, "leave the namespaces of tests")
	when       = flag.String("when", "all", "tests to run if -test.run names none: change, release (with those of change), dual-stack, all")
	list       = flag.Bool("promises", false, "print what each test promises and when it runs, and run none")
	update     = flag.Bool("update", false, "without a cluster: write the table in README.md")
)

var (
	cluster *scene.Cluster
	book    *record.Book
)

func TestMain(m *testing.M) {
	flag.Parse()
	if *list {
		fmt.Print(table())
		return
	}
	if *kubeconfig == "" {
		if err := promisesHold(*update); err != nil {
			fmt.Fprintln(os.Stderr, "behaviour:", err)
			os.Exit(1)
		}
		fmt.Println("behaviour: no cluster given (-kubeconfig); `fwcluster behaviour` gives one")
		return
	}
	err := choose(*when)
	if err != nil {
		fmt.Fprintln(os.Stderr, "behaviour:", err)
		os.Exit(1)
	}
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
