package behaviour

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// occasion is when a test runs.
type occasion string

const (
	// everyChange is for promises to users that a change of the code could break: `.ci/run`.
	everyChange occasion = "change"
	// beforeRelease is for bars of time and memory, which depend on the machine, and for what takes minutes: `make verify`.
	beforeRelease occasion = "release"
	// onDualStack needs a cluster with IPv6 beside IPv4; `.ci/run` makes one for it.
	onDualStack occasion = "dual-stack"
)

// selections are the names that `-when` takes, and the occasions each stands for.
var selections = map[string][]occasion{
	"change":     {everyChange},
	"release":    {everyChange, beforeRelease},
	"dual-stack": {onDualStack},
	"all":        {everyChange, beforeRelease, onDualStack},
}

// promise is what a test holds Fairway to.
type promise struct {
	test string
	when occasion
	text string
}

var promises []promise

// promised declares what a test of this package promises, in a sentence for users, and when it is to run.
func promised(test func(*testing.T), when occasion, text string) struct{} {
	name := runtime.FuncForPC(reflect.ValueOf(test).Pointer()).Name()
	promises = append(promises, promise{name[strings.LastIndex(name, ".")+1:], when, text})
	return struct{}{}
}

// choose has only those tests run that belong to a selection, unless -test.run names some.
func choose(selection string) error {
	occasions, known := selections[selection]
	if !known {
		return fmt.Errorf("-when %q: there is change, release, dual-stack, all", selection)
	}
	if run := flag.Lookup("test.run"); run.Value.String() != "" {
		return nil
	}
	var names []string
	for _, it := range promises {
		if slices.Contains(occasions, it.when) {
			names = append(names, it.test)
		}
	}
	return flag.Set("test.run", "^("+strings.Join(names, "|")+")$")
}

// rounds is how often a test repeats what it does: few times at every change, many before a release.
func rounds(few, many int) int {
	if *when == string(everyChange) {
		return few
	}
	return many
}

// table of the promises, as README.md has it.
func table() string {
	sorted := slices.SortedFunc(slices.Values(promises), func(a, b promise) int { return strings.Compare(a.test, b.test) })
	var text strings.Builder
	text.WriteString("| test | when | promise |\n|---|---|---|\n")
	for _, it := range sorted {
		fmt.Fprintf(&text, "| %s | %s | %s |\n", it.test, it.when, it.text)
	}
	return text.String()
}

const (
	readme    = "../README.md"
	tableFrom = "<!-- promises: `go test ./behaviour -args -update` writes this table -->\n"
	tableTo   = "<!-- end of promises -->\n"
)

// promisesHold checks, without a cluster, that every test declares a promise and that README.md says the same. Away from the source there
// is nothing to check.
func promisesHold(update bool) error {
	files, err := filepath.Glob("*_test.go")
	if err != nil || len(files) == 0 {
		return err
	}
	for _, file := range files {
		positions := token.NewFileSet()
		tree, err := parser.ParseFile(positions, file, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for node := range ast.Preorder(tree) {
			call, is := node.(*ast.SelectorExpr)
			if !is {
				continue
			}
			switch name := call.Sel.Name; {
			case name == "Sleep" && fmt.Sprint(call.X) == "time":
				return fmt.Errorf("%s: time.Sleep: wait with until or carry for what will happen, and with watch for what must not", positions.Position(call.Pos()))
			case slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, name) && file != "stage_test.go":
				return fmt.Errorf("%s: %s: say with unable where the test has to run, so that it fails there", positions.Position(call.Pos()), name)
			}
		}
		for _, declaration := range tree.Decls {
			function, is := declaration.(*ast.FuncDecl)
			if !is || function.Recv != nil || !strings.HasPrefix(function.Name.Name, "Test") || function.Name.Name == "TestMain" {
				continue
			}
			if !slices.ContainsFunc(promises, func(it promise) bool { return it.test == function.Name.Name }) {
				return fmt.Errorf("%s: %s says neither what it promises nor when it runs: declare it with promised()", file, function.Name.Name)
			}
		}
	}
	raw, err := os.ReadFile(readme)
	if err != nil {
		return err
	}
	before, rest, found := strings.Cut(string(raw), tableFrom)
	_, after, ended := strings.Cut(rest, tableTo)
	if !found || !ended {
		return fmt.Errorf("%s has no table of promises", readme)
	}
	wanted := before + tableFrom + table() + tableTo + after
	if update {
		return os.WriteFile(readme, []byte(wanted), fs.FileMode(0o644))
	}
	if wanted != string(raw) {
		return fmt.Errorf("the table in %s is not what the tests promise: `go test ./behaviour -args -update` writes it", readme)
	}
	return nil
}
