package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/google/uuid"

	"containertriggers/infra/local/child"
	"containertriggers/infra/local/cloud"
)

const (
	messageSize = 200
	// window is the number of messages by which the publisher may be ahead of the
	// container. Core NATS drops messages for a subscriber that is too slow.
	window = 5_000
	// fixedRate is the number of messages a second at which latencies are measured.
	fixedRate = 2_000
)

// relayTable measures floor and relay under each load.
func relayTable(ctx context.Context, on *clouds, of effort, loads []load, q quota) error {
	var rows [][]string
	for _, one := range loads {
		target, err := newContainer(one.takes)
		if err != nil {
			return err
		}
		floor, relay, err := bench{ctx: ctx, container: target, load: one, effort: of, quota: q}.both(on)
		target.close()
		if err != nil {
			return fmt.Errorf("%s, %d in flight: %w", one.kind, one.inFlight, err)
		}
		rows = append(rows, one.rows(floor, relay)...)
	}
	table(fmt.Sprintf("source\tin flight\tcontainer takes\tprogram\tmessages/s\tCPU/message\tp50 at %d/s\tp99 at %d/s\tpeak memory\t", fixedRate, fixedRate), rows)
	return nil
}

// quotaTable measures floor and relay with as little CPU as a Lambda function has.
func quotaTable(ctx context.Context, on *clouds, of effort) error {
	fmt.Println()
	q, ok := findQuota(ctx)
	if !ok {
		fmt.Println("The relay with scarce CPU: not measured, because this machine lets no quota be set (control groups, cpulimit)")
		return nil
	}
	fmt.Printf("The relay with the CPU of a function of %d MB: %.2f of one, by %s\n", relayMemory, cpusOf(relayMemory), q.name)
	return relayTable(ctx, on, of, of.scarce, q)
}

// rows returns the rows of the table for a load.
func (l load) rows(floor, relay figures) (rows [][]string) {
	start := []string{sourceNames[l.kind], strconv.Itoa(l.inFlight), l.takes.String()}
	add := func(cells ...string) { rows = append(rows, append(start[:len(start):len(start)], cells...)) }
	for i, f := range []figures{floor, relay} {
		add([]string{"floor", "relay"}[i], fmt.Sprintf("%.0f", f.rate), microseconds(f.cpu)+" us",
			latency(f.p50), latency(f.p99), megabytes(f.peakMemory))
	}
	last := ""
	if l.takes > 0 {
		most := float64(l.inFlight) / l.takes.Seconds()
		last = fmt.Sprintf("of ceiling %.2f", relay.rate/min(most, floor.rate))
	}
	add("ratio", fmt.Sprintf("%.2f", relay.rate/floor.rate), fmt.Sprintf("%.2f", float64(relay.cpu)/float64(floor.cpu)),
		ratio(relay.p50, floor.p50), ratio(relay.p99, floor.p99), last)
	return rows
}

// latency formats a latency. It returns "-" if none was measured.
func latency(d time.Duration) string {
	if d == 0 {
		return "-"
	}
	return ms(d)
}

func ratio(relay, floor time.Duration) string {
	if floor == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", float64(relay)/float64(floor))
}

func megabytes(bytes int64) string { return fmt.Sprintf("%.1f MB", float64(bytes)/1e6) }

// bench measures both programs under one load.
type bench struct {
	load
	effort
	ctx       context.Context
	container *container
	quota     quota
}

// program is a running floor or relay, and its source.
type program struct {
	name   string
	source source
	pid    int
}

// both measures the two programs one after the other, beside the same idle cloud.
func (b bench) both(on *clouds) (floor, relay figures, err error) {
	c, err := on.get(b.ctx, b.inFlight)
	if err != nil {
		return floor, relay, err
	}
	programs := []program{{name: "floor"}, {name: "relay"}}
	for i, p := range programs {
		// The subject is new, because a shared cloud may have a trigger for the last one.
		if p.source, err = newSource(b.ctx, b.kind, c.NATSURL(), p.name+"-"+uuid.NewString()); err != nil {
			return floor, relay, fmt.Errorf("preparing the source of the %s: %w", p.name, err)
		}
		defer p.source.close()
		programs[i] = p
	}
	stopFloor, pid, err := b.startFloor(programs[0].source)
	if err != nil {
		return floor, relay, fmt.Errorf("starting the floor: %w", err)
	}
	defer stopFloor()
	programs[0].pid = pid
	if programs[1].pid, err = b.startRelay(c, programs[1].source); err != nil {
		return floor, relay, fmt.Errorf("starting the relay: %w", err)
	}
	if b.memoryMB > 0 {
		for _, p := range programs {
			lift, err := b.quota.limit(b.ctx, p.pid, cpusOf(b.memoryMB))
			if err != nil {
				return floor, relay, fmt.Errorf("limiting the CPU of the %s: %w", p.name, err)
			}
			defer lift()
		}
	}
	all := make([][]figures, len(programs))
	for range b.rounds {
		for i, p := range programs {
			f, err := b.measure(p)
			if err != nil {
				return floor, relay, fmt.Errorf("the %s: %w", p.name, err)
			}
			all[i] = append(all[i], f)
		}
	}
	return middle(all[0]), middle(all[1]), nil
}

func (b bench) startFloor(from source) (stop func(), pid int, err error) {
	cmd := exec.CommandContext(b.ctx, floorBinary, b.kind, from.url(), from.subject(), b.container.url, strconv.Itoa(b.inFlight))
	child.Prepare(cmd)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, 0, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, 0, err
	}
	if err := cmd.Start(); err != nil {
		return nil, 0, err
	}
	if _, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		return nil, 0, err
	}
	return func() {
		_ = stdin.Close()
		_ = cmd.Wait() // it has done its work
	}, cmd.Process.Pid, nil
}

// startRelay creates a trigger, for which the service starts the relay. It returns the
// relay's process ID.
func (b bench) startRelay(c *cloud.Cloud, from source) (pid int, err error) {
	api, err := newAPI(b.ctx, c)
	if err != nil {
		return 0, err
	}
	if _, err := api.createTrigger(b.ctx, b.container.url, from.config()); err != nil {
		return 0, err
	}
	return processOf(filepath.Join(".build", "relay", "bootstrap"))
}
