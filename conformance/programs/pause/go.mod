// The program that holds a pod open.
module github.com/fairway-dev/fairway/conformance/programs/pause

go 1.27.0
