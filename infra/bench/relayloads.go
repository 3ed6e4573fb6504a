package main

import "time"

// load is the load of the relay and its floor.
type load struct {
	kind     string // of the source
	inFlight int
	takes    time.Duration // the container, for a message
	messages int
	// memoryMB is that of the Lambda function whose CPU floor and relay have. If it is 0, they
	// have that of this machine.
	memoryMB int
}

const (
	messages = 200_000
	few      = messages / 100
)

var (
	thoroughLoads = []load{
		{kind: coreNATS, inFlight: 1, messages: messages / 20},
		{kind: coreNATS, inFlight: 64, messages: messages},
		{kind: coreNATS, inFlight: 256, messages: messages},
		{kind: coreNATS, inFlight: 256, takes: 20 * time.Millisecond, messages: messages / 2},
		{kind: jetStream, inFlight: 64, messages: messages / 2},
		{kind: jetStream, inFlight: 256, messages: messages / 2},
		{kind: queueElsewhere, inFlight: 256, messages: messages / 4},
	}
	briefLoads = []load{
		{kind: coreNATS, inFlight: 64, messages: few},
		{kind: jetStream, inFlight: 64, messages: few},
		{kind: queueElsewhere, inFlight: 64, messages: few},
	}
	thoroughScarce = []load{
		{kind: coreNATS, inFlight: 64, messages: messages / 5, memoryMB: relayMemory},
		{kind: coreNATS, inFlight: 256, messages: messages / 5, memoryMB: relayMemory},
	}
	briefScarce = []load{{kind: coreNATS, inFlight: 64, messages: 5 * few, memoryMB: relayMemory}}
)

// relayMemory is the memory of the relay's function in the template.
const relayMemory = 512
