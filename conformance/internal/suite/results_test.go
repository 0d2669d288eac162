package suite

import (
	"strings"
	"testing"
)

// What the suite writes with -test.v=test2json, after test2json: two tests in parallel, one of them failing in a subtest.
const events = `{"Action":"start"}
{"Action":"run","Test":"TestConformance"}
{"Time":"2026-11-21T14:00:00Z","Action":"run","Test":"TestConformance/HTTPRouteWeight"}
{"Time":"2026-11-21T14:00:20Z","Action":"cont","Test":"TestConformance/HTTPRouteWeight"}
{"Action":"output","Test":"TestConformance/HTTPRouteWeight","Output":"=== RUN   TestConformance/HTTPRouteWeight\n","OutputType":"frame"}
{"Action":"run","Test":"TestConformance/HTTPRouteCORS"}
{"Action":"output","Test":"TestConformance/HTTPRouteCORS/preflight","Output":"    http.go:322: 2026-11-21T14:09:49.4560Z: Response expectation failed: got 404\n"}
{"Action":"output","Test":"TestConformance/HTTPRouteCORS/preflight","Output":"        Response Headers: map[]\n"}
{"Action":"output","Test":"TestConformance/HTTPRouteCORS/other","Output":"    http.go:1: something else\n"}
{"Action":"output","Test":"TestConformance/HTTPRouteCORS/preflight","Output":"    http.go:271: \n","OutputType":"error"}
{"Action":"output","Test":"TestConformance/HTTPRouteCORS/preflight","Output":"        \tError Trace:\t/somewhere/http.go:271\n","OutputType":"error-continue"}
{"Action":"output","Test":"TestConformance/HTTPRouteCORS/preflight","Output":"        \t            \t/somewhere/cors.go:80\n","OutputType":"error-continue"}
{"Action":"output","Test":"TestConformance/HTTPRouteCORS/preflight","Output":"        \tError:      \texpected status 200,\n","OutputType":"error-continue"}
{"Action":"output","Test":"TestConformance/HTTPRouteCORS/preflight","Output":"        \t            \tgot 404\n","OutputType":"error-continue"}
{"Action":"output","Test":"TestConformance/HTTPRouteCORS/preflight","Output":"        \tTest:       \tTestConformance/HTTPRouteCORS/preflight\n","OutputType":"error-continue"}
{"Action":"output","Test":"TestConformance/HTTPRouteCORS/other","Output":"    http.go:9: a later error\n","OutputType":"error"}
{"Time":"2026-11-21T14:00:22.5Z","Action":"pass","Test":"TestConformance/HTTPRouteWeight","Elapsed":0.5}
{"Action":"fail","Test":"TestConformance/HTTPRouteCORS/preflight","Elapsed":30}
{"Action":"fail","Test":"TestConformance/HTTPRouteCORS","Elapsed":31}
{"Action":"skip","Test":"TestConformance/MeshBasic","Elapsed":0}
not an event: a line of somebody else
{"Action":"fail","Test":"TestConformance","Elapsed":40}
{"Action":"fail","Elapsed":40}
`

func TestEveryTestOfTheSuiteHasOneResultWithItsFirstError(t *testing.T) {
	var order []string
	results, err := ReadResults(strings.NewReader(events), func(name string, _ Result) { order = append(order, name) })
	if err != nil {
		t.Fatal(err)
	}
	want := Results{
		"HTTPRouteWeight": {Outcome: Pass, Seconds: 2.5},
		"HTTPRouteCORS":   {Outcome: Fail, Seconds: 31, Error: "preflight: http.go:271: expected status 200, got 404 | before: http.go:322: Response expectation failed: got 404"},
		"MeshBasic":       {Outcome: Skip},
		"":                {Outcome: Fail, Seconds: 40},
	}
	if len(results) != len(want) {
		t.Errorf("results: %v", results)
	}
	for name, result := range want {
		if results[name] != result {
			t.Errorf("%q: %+v, want %+v", name, results[name], result)
		}
	}
	if got := strings.Join(order, " "); got != "HTTPRouteWeight HTTPRouteCORS MeshBasic " {
		t.Errorf("heard of them in the order %q", got)
	}
	if got := strings.Join(results.Failed(), " "); got != "HTTPRouteCORS" {
		t.Errorf("failed: %q", got)
	}
}

func TestARunThatEndsBeforeItsTestsHasFailed(t *testing.T) {
	for name, stream := range map[string]string{
		"set-up fails": `{"Action":"output","Test":"TestConformance","Output":"    helpers.go:120: no GatewayClass\n","OutputType":"error"}
{"Action":"fail","Test":"TestConformance","Elapsed":180}`,
		"nothing at all": "",
	} {
		t.Run(name, func(t *testing.T) {
			results, err := ReadResults(strings.NewReader(stream), func(string, Result) {})
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(results.Failed(), " "); got != "set-up" {
				t.Errorf("failed: %q, want the set-up", got)
			}
		})
	}
}

func TestAPanicIsTheErrorWhereverItIsPrinted(t *testing.T) {
	results, err := ReadResults(strings.NewReader(`{"Action":"output","Test":"TestConformance/A","Output":"    a.go:1: first\n","OutputType":"error"}
{"Action":"output","Test":"TestConformance/A","Output":"panic: nil map [recovered]\n"}
{"Action":"output","Test":"TestConformance/A","Output":"goroutine 7\n"}
{"Action":"fail","Test":"TestConformance/A","Elapsed":1}`), func(string, Result) {})
	if err != nil {
		t.Fatal(err)
	}
	if got := results["A"].Error; got != "panic: nil map [recovered]" {
		t.Errorf("error: %q", got)
	}
}
