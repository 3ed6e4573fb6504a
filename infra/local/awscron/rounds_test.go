//go:build !race

package awscron_test

// rounds is how many times rapid draws 100 schedules to compare.
const rounds = 20
