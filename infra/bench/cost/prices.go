package cost

import "time"

// The list prices of us-east-1 in dollars, without free tiers, as AWS published them in the first
// half of 2026 on the pricing pages of each service. They change rarely; whoever changes one runs
// make bench.
const (
	million = 1e6

	lambdaRequest    = 0.20 / million
	lambdaGBSecond   = 0.0000133334 // arm64
	apiRequest       = 1.00 / million
	schedulerFire    = 1.00 / million
	writeUnit        = 0.625 / million
	readUnit         = 0.125 / million
	kmsRequest       = 0.03 / 10_000
	kmsKeyMonth      = 1.00
	event            = 1.00 / million
	apiDestination   = 0.20 / million
	queueRequest     = 0.40 / million
	fifoQueueRequest = 0.50 / million
	logGB            = 0.50
	alarmMetricMonth = 0.10
	metricMonth      = 0.30 // of a metric that has a value in that month
)

// What a run is taken to last beside its wait for the container, and a line of the log to have.
// Measured figures differ from machine to machine, and the table must not.
const (
	// ownCPU is the time of a run's own work on a whole CPU, as make bench shows it for an
	// occurrence and for a list.
	ownCPU = 2500 * time.Microsecond
	// wholeCPU is the memory with which a function has a whole CPU, in MB (Lambda Developer Guide,
	// "Configure Lambda function memory").
	wholeCPU = 1769
	// callTime is the time of a call of AWS. The calls of a run are taken to follow one another.
	callTime = 10 * time.Millisecond
	// lineBytes are those of a line with metrics.
	lineBytes = 600
)

// month is 30 days.
const month = 30 * 24 * time.Hour
