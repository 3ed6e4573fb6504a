//go:build race

package awscron_test

// rounds is low under the race detector, which makes the comparison ten times
// slower and finds nothing in it: the rounds share counters only.
const rounds = 1
