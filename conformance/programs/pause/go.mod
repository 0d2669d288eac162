// The program that holds a pod open.
module github.com/fairway-mesh/fairway/conformance/programs/pause

go 1.27.0
