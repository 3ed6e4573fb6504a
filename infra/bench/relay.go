package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"containertriggers/infra/local/child"
	"containertriggers/infra/local/cloud"
	"containertriggers/infra/local/stack"
	tables "containertriggers/shared/aws/store"
	"containertriggers/shared/domain/auth"
)

const (
	messageSize = 200
	// window is the number of messages by which the publisher may be ahead of the
	// container. Core NATS drops messages for a subscriber that is too slow.
	window = 5_000
	// fixedRate is the number of messages a second at which latencies are measured.
	fixedRate = 2_000
)

// figures are the figures of one program.
type figures struct {
	rate       float64 // messages a second
	cpu        time.Duration
	p50, p99   time.Duration
	peakMemory int64 // bytes
}

// relayTable measures floor and relay under each load. It returns the environments
// that the deployed template gives to the functions, by their folders.
func relayTable(ctx context.Context, python string, of effort) (environments map[string]map[string]string, err error) {
	var rows [][]string
	for _, one := range of.loads {
		target, err := newContainer(one.takes)
		if err != nil {
			return nil, err
		}
		b := bench{ctx: ctx, container: target, load: one, effort: of}
		var floor, relay figures
		floor, relay, environments, err = b.both(python)
		target.close()
		if err != nil {
			return nil, err
		}
		ceiling := "-"
		if one.takes > 0 {
			most := float64(one.inFlight) / one.takes.Seconds()
			ceiling = fmt.Sprintf("%.2f", relay.rate/min(most, floor.rate))
		}
		for i, f := range []figures{floor, relay} {
			rows = append(rows, []string{
				strconv.Itoa(one.inFlight), one.takes.String(), []string{"floor", "relay"}[i], fmt.Sprintf("%.0f", f.rate), fmt.Sprintf("%.0f us", float64(f.cpu.Nanoseconds())/1000),
				latency(f.p50), latency(f.p99), fmt.Sprintf("%.1f MB", float64(f.peakMemory)/1e6),
			})
		}
		rows = append(rows, []string{
			strconv.Itoa(one.inFlight), one.takes.String(), "ratio", fmt.Sprintf("%.2f", relay.rate/floor.rate), fmt.Sprintf("%.2f", float64(relay.cpu)/float64(floor.cpu)),
			ratio(relay.p50, floor.p50), ratio(relay.p99, floor.p99), "of ceiling " + ceiling,
		})
	}
	table(fmt.Sprintf("in flight\tcontainer takes\tprogram\tmessages/s\tCPU/message\tp50 at %d/s\tp99 at %d/s\tpeak memory\t", fixedRate, fixedRate), rows)
	return environments, nil
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

// bench measures both programs under one load.
type bench struct {
	load
	effort
	ctx       context.Context
	container *container
}

// both measures the two programs one after the other, beside the same idle cloud. It also
// returns the functions' environments by their folders.
func (b bench) both(python string) (floor, relay figures, environments map[string]map[string]string, err error) {
	c := &cloud.Cloud{
		Root: ".", Python: python, Address: "127.0.0.1:0", Now: time.Now, RetryDelay: time.Second, Log: func(string, string) {},
		Parameters: map[string]string{"RelayConcurrency": strconv.Itoa(b.inFlight)},
	}
	if err := c.Start(b.ctx); err != nil {
		return floor, relay, nil, err
	}
	defer c.Close()
	stopFloor, floorPID, err := b.startFloor(c)
	if err != nil {
		return floor, relay, nil, fmt.Errorf("starting the floor: %w", err)
	}
	defer stopFloor()
	relayPID, err := b.startRelay(c)
	if err != nil {
		return floor, relay, nil, fmt.Errorf("starting the relay: %w", err)
	}
	var floors, relays []figures
	for range b.rounds {
		f, err := b.measure(c.NATSURL(), "floor", floorPID)
		if err != nil {
			return floor, relay, nil, fmt.Errorf("the floor: %w", err)
		}
		r, err := b.measure(c.NATSURL(), "relay", relayPID)
		if err != nil {
			return floor, relay, nil, fmt.Errorf("the relay: %w", err)
		}
		floors, relays = append(floors, f), append(relays, r)
	}
	environments = map[string]map[string]string{}
	for logicalID, environment := range c.Environments() {
		environments[stack.Label(logicalID)] = environment
	}
	return middle(floors), middle(relays), environments, nil
}

// middle returns the median of each figure, and the largest memory.
func middle(all []figures) (m figures) {
	var rates []float64
	var cpus, p50s, p99s []time.Duration
	for _, f := range all {
		rates, cpus = append(rates, f.rate), append(cpus, f.cpu)
		p50s, p99s = append(p50s, f.p50), append(p99s, f.p99)
		m.peakMemory = max(m.peakMemory, f.peakMemory)
	}
	m.rate, m.cpu, m.p50, m.p99 = median(rates), median(cpus), median(p50s), median(p99s)
	return m
}

func (b bench) startFloor(c *cloud.Cloud) (stop func(), pid int, err error) {
	cmd := exec.CommandContext(b.ctx, floorBinary, c.NATSURL(), "floor", b.container.url, strconv.Itoa(b.inFlight))
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
func (b bench) startRelay(c *cloud.Cloud) (pid int, err error) {
	key, plain := auth.NewKey(auth.Principal{OrganizationID: uuid.NewString(), PermissionSet: auth.FullAccess, DefaultProjectID: uuid.NewString()}, "bench", time.Now(), time.Time{})
	keys := tables.Keys{Client: dynamodb.NewFromConfig(c.AWSConfig()), Table: c.Function("get-trigger").Environment["KEYS_TABLE"]}
	if err := keys.Create(b.ctx, key); err != nil {
		return 0, err
	}
	api := api{base: c.APIURL() + "/containers/v1/regions/fr-par", token: string(plain)}
	on, err := api.do(b.ctx, http.MethodPost, "/containers", map[string]any{"name": "bench", "public_endpoint": b.container.url})
	if err != nil {
		return 0, err
	}
	created, err := api.do(b.ctx, http.MethodPost, "/triggers", map[string]any{
		"name": "bench", "container_id": on["id"], "nats_config": map[string]any{"server_urls": []string{c.NATSURL()}, "subject": "relay"},
	})
	if err != nil {
		return 0, err
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) { //nolint:forbidigo // polls with a deadline
		t, err := api.do(b.ctx, http.MethodGet, "/triggers/"+created["id"].(string), nil)
		if err != nil {
			return 0, err
		}
		if t["status"] == "ready" {
			break
		}
		if time.Now().After(end) {
			return 0, fmt.Errorf("the trigger is %v: %v", t["status"], t["error_message"])
		}
	}
	return processOf(filepath.Join(".build", "relay", "bootstrap"))
}

// measure returns the figures of a program that has subscribed.
func (b bench) measure(natsURL, subject string, pid int) (figures, error) {
	conn, err := nats.Connect(natsURL)
	if err != nil {
		return figures{}, err
	}
	defer conn.Close()
	var f figures
	if err := b.publish(conn, subject, b.messages/20, 0); err != nil { // to warm up
		return f, err
	}
	cpu, err := cpuOf(pid)
	if err != nil {
		return f, err
	}
	began := time.Now()
	if err := b.publish(conn, subject, b.messages, 0); err != nil {
		return f, err
	}
	f.rate = float64(b.messages) / time.Since(began).Seconds()
	after, err := cpuOf(pid)
	if err != nil {
		return f, err
	}
	f.cpu = (after - cpu) / time.Duration(b.messages)
	if b.inFlight > 1 { // one at a time cannot follow
		if err := b.publish(conn, subject, int(fixedRate*b.fixedTime.Seconds()), fixedRate); err != nil {
			return f, err
		}
		f.p50, f.p99 = b.container.latencies()
	}
	f.peakMemory, err = peakOf(pid)
	return f, err
}

// publish publishes messages at a rate, or as fast as the container accepts them if the
// rate is 0. It returns when the container has accepted all.
func (b bench) publish(conn *nats.Conn, subject string, count, rate int) error {
	b.container.reset()
	payload := make([]byte, messageSize)
	began := time.Now()
	for i := range count {
		if rate > 0 {
			if due := began.Add(time.Duration(i) * time.Second / time.Duration(rate)); time.Until(due) > 0 {
				if err := conn.Flush(); err != nil {
					return err
				}
				time.Sleep(time.Until(due)) //nolint:forbidigo // keeps the rate
			}
		} else {
			for int64(i)-b.container.taken.Load() > window {
				time.Sleep(time.Millisecond) //nolint:forbidigo // keeps the window
			}
		}
		binary.BigEndian.PutUint64(payload, uint64(time.Now().UnixNano()))
		if err := conn.Publish(subject, payload); err != nil {
			return err
		}
	}
	if err := conn.Flush(); err != nil {
		return err
	}
	for last, since := int64(-1), time.Now(); b.container.taken.Load() < int64(count); time.Sleep(time.Millisecond) { //nolint:forbidigo // polls with a deadline
		if taken := b.container.taken.Load(); taken != last {
			last, since = taken, time.Now()
		} else if time.Since(since) > 20*time.Second {
			return fmt.Errorf("%d of %d messages arrived", taken, count)
		}
	}
	return nil
}

// container answers after a delay, and records the ages of messages.
type container struct {
	url    string
	server *http.Server
	taken  atomic.Int64

	mu   sync.Mutex
	ages []time.Duration
}

func newContainer(takes time.Duration) (*container, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &container{url: "http://" + listener.Addr().String()}
	c.server = &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var payload [messageSize]byte
		if _, err := io.ReadFull(r.Body, payload[:]); err != nil {
			return
		}
		age := time.Since(time.Unix(0, int64(binary.BigEndian.Uint64(payload[:]))))
		if takes > 0 {
			time.Sleep(takes) //nolint:forbidigo // the work of the container
		}
		c.mu.Lock()
		c.ages = append(c.ages, age)
		c.mu.Unlock()
		c.taken.Add(1)
	})}
	go func() { _ = c.server.Serve(listener) }() // until it is closed
	return c, nil
}

func (c *container) close() { _ = c.server.Close() }

func (c *container) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ages = nil
	c.taken.Store(0)
}

func (c *container) latencies() (p50, p99 time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	slices.Sort(c.ages)
	return c.ages[len(c.ages)/2], c.ages[len(c.ages)*99/100]
}

// processOf returns the ID of the process that runs a binary.
func processOf(path string) (pid int, err error) {
	path, err = filepath.Abs(path)
	if err != nil {
		return 0, err
	}
	links, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		return 0, err
	}
	for _, link := range links {
		if binary, err := os.Readlink(link); err == nil && binary == path {
			return strconv.Atoi(strings.Split(link, "/")[2])
		}
	}
	return 0, fmt.Errorf("no process runs %s", path)
}

// cpuOf returns the CPU time that a process has used (proc(5), stat: fields 14 and 15,
// in hundredths of a second).
func cpuOf(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	user, err := strconv.Atoi(fields[11])
	if err != nil {
		return 0, err
	}
	system, err := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond, err
}

// peakOf returns the largest resident memory that a process has had, in bytes.
func peakOf(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	kilobytes, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	return kilobytes << 10, err
}

// api calls the API.
type api struct{ base, token string }

func (a api) do(ctx context.Context, method, path string, body map[string]any) (map[string]any, error) {
	encoded, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, method, a.base+path, bytes.NewReader(encoded))
	if err != nil {
		return nil, err
	}
	request.Header.Set("X-Auth-Token", a.token)
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var answer map[string]any
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s %s: %s %v", method, path, response.Status, answer)
	}
	return answer, nil
}
