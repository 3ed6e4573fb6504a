package main

import "time"

// load is the load of the relay and its floor.
type load struct {
	source   string // its kind
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
		{source: coreNATS, inFlight: 1, messages: messages / 20},
		{source: coreNATS, inFlight: 64, messages: messages},
		{source: coreNATS, inFlight: 256, messages: messages},
		{source: coreNATS, inFlight: 256, takes: 20 * time.Millisecond, messages: messages / 2},
		{source: jetStream, inFlight: 64, messages: messages / 2},
		{source: jetStream, inFlight: 256, messages: messages / 2},
		{source: queueElsewhere, inFlight: 256, messages: messages / 4},
	}
	briefLoads = []load{
		{source: coreNATS, inFlight: 64, messages: few},
		{source: jetStream, inFlight: 64, messages: few},
		{source: queueElsewhere, inFlight: 256, messages: few},
	}
	thoroughScarce = []load{
		{source: coreNATS, inFlight: 64, messages: messages / 5, memoryMB: relayMemory},
		{source: coreNATS, inFlight: 256, messages: messages / 5, memoryMB: relayMemory},
	}
	briefScarce = []load{{source: coreNATS, inFlight: 64, messages: few, memoryMB: relayMemory}}
)

// relayMemory is the memory of the relay's function in the template.
const relayMemory = 512
