// Package behaviour has the tests of how Fairway behaves while things change: on a real cluster, with Fairway installed
// by its charts, and with requests under way. `fwcluster behaviour` runs them; each has its bars as constants and writes
// its figures to results.json.
package behaviour
