package guard

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// Usage is what calls of AWS use.
type Usage struct {
	// Calls has the number of calls by the service and the operation: "dynamodb.GetItem". Services
	// with a REST API have the method as the operation: "scheduler.POST".
	Calls map[string]int
	// Reads and Writes are DynamoDB's request units.
	Reads, Writes float64
	// Sent and Received are the bytes of the requests' and answers' bodies.
	Sent, Received int
}

// Minus returns what was used since an earlier usage.
func (u Usage) Minus(earlier Usage) Usage {
	calls := maps.Clone(u.Calls)
	for name, count := range earlier.Calls {
		if calls[name] -= count; calls[name] == 0 {
			delete(calls, name)
		}
	}
	return Usage{calls, u.Reads - earlier.Reads, u.Writes - earlier.Writes, u.Sent - earlier.Sent, u.Received - earlier.Received}
}

// meter counts what each caller uses.
type meter struct {
	tables *emulated

	mu   sync.Mutex
	used map[string]Usage // by the caller
}

// StartMeter begins to count usage. Each write to DynamoDB costs the emulator two reads more.
func (g *Guard) StartMeter() {
	g.meter.Store(&meter{tables: g.tables, used: map[string]Usage{}})
}

// Used returns what a function has used since StartMeter, by its name.
func (g *Guard) Used(function string) Usage {
	m := g.meter.Load()
	m.mu.Lock()
	defer m.mu.Unlock()
	used := m.used[function]
	used.Calls = maps.Clone(used.Calls)
	return used
}

// answered keeps an answer for the meter.
type answered struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (a *answered) WriteHeader(status int) {
	a.status = status
	a.ResponseWriter.WriteHeader(status)
}

func (a *answered) Write(part []byte) (int, error) {
	a.body.Write(part)
	return a.ResponseWriter.Write(part)
}

// count serves a request and counts what it uses. A nil meter only serves it.
func (m *meter) count(w http.ResponseWriter, r *http.Request, body []byte, serve func(http.ResponseWriter)) {
	called := service.FindStringSubmatch(r.Header.Get("Authorization"))
	if m == nil || called == nil || r.Header.Get(uncounted) != "" {
		serve(w)
		return
	}
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	if operation == "" {
		operation = r.Method
	}
	answer := &answered{ResponseWriter: w, status: http.StatusOK}
	var reads, writes float64
	if called[1] == "dynamodb" {
		writing := m.writing(r, operation, body)
		before := m.rows(r, writing)
		serve(answer)
		reads = readUnits(operation, body, answer.body.Bytes())
		writes = m.writeUnits(r, operation, writing, before, m.rows(r, writing))
	} else {
		serve(answer)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	caller := r.Header.Get("X-Amz-Security-Token") // the runtime sets it to the function's name
	used := m.used[caller]
	if used.Calls == nil {
		used.Calls = map[string]int{}
	}
	used.Calls[called[1]+"."+operation]++
	used.Reads, used.Writes = used.Reads+reads, used.Writes+writes
	used.Sent, used.Received = used.Sent+len(body), used.Received+answer.body.Len()
	m.used[caller] = used
}

// The sizes of a unit in bytes (DynamoDB Developer Guide, "DynamoDB on-demand capacity mode").
const (
	readUnit  = 4096
	writeUnit = 1024
	// indexOverhead is what an entry of an index has beside its attributes ("DynamoDB item sizes
	// and formats").
	indexOverhead = 100
)

// units returns how many units an item takes. An item that is missing takes one.
func units(bytes, unit int) float64 { return float64(max((bytes+unit-1)/unit, 1)) }

// size returns the size of an item (DynamoDB Developer Guide, "DynamoDB item sizes and formats").
func (i item) size() (bytes int) {
	for name, value := range i {
		bytes += len(name) + sizeOf(value)
	}
	return bytes
}

func sizeOf(value json.RawMessage) int {
	var typed struct {
		S    *string
		N    *string
		B    *[]byte
		L    []json.RawMessage
		M    map[string]json.RawMessage
		BOOL *bool
	}
	if json.Unmarshal(value, &typed) != nil {
		return len(value) // a set, which no row has
	}
	switch {
	case typed.S != nil:
		return len(*typed.S)
	case typed.N != nil:
		return (len(*typed.N)+1)/2 + 1
	case typed.B != nil:
		return len(*typed.B)
	case typed.L != nil:
		bytes := 3
		for _, each := range typed.L {
			bytes += sizeOf(each) + 1
		}
		return bytes
	case typed.M != nil:
		return 3 + item(typed.M).size() + len(typed.M)
	}
	return 1 // true, false or null
}

// readUnits returns what a read takes by the items of its answer. What a filter left out is not in
// it, so that a query or scan with a filter counts too little.
func readUnits(operation string, body, answer []byte) (sum float64) {
	var asked struct {
		ConsistentRead bool
		RequestItems   map[string]struct {
			ConsistentRead bool
			Keys           []item
		}
	}
	var got struct {
		Item      item
		Items     []item
		Responses map[string][]item
	}
	if json.Unmarshal(body, &asked) != nil || json.Unmarshal(answer, &got) != nil {
		return 0
	}
	price := func(consistent bool, units float64) float64 {
		if consistent {
			return units
		}
		return units / 2
	}
	switch operation {
	case "GetItem":
		return price(asked.ConsistentRead, units(got.Item.size(), readUnit))
	case "Query", "Scan":
		bytes := 0
		for _, each := range got.Items {
			bytes += each.size()
		}
		return price(asked.ConsistentRead, units(bytes, readUnit))
	case "BatchGetItem":
		for table, of := range asked.RequestItems {
			missing := len(of.Keys) - len(got.Responses[table])
			sum += price(of.ConsistentRead, float64(missing))
			for _, each := range got.Responses[table] {
				sum += price(of.ConsistentRead, units(each.size(), readUnit))
			}
		}
	}
	return sum
}

// written is a row that a call writes, or whose condition it checks.
type written struct {
	table string
	key   item
	check bool
}

// writing returns the rows that a call writes.
func (m *meter) writing(r *http.Request, operation string, body []byte) (rows []written) {
	var one write
	var all struct{ TransactItems []map[string]write }
	switch operation {
	case "PutItem", "UpdateItem", "DeleteItem":
		if json.Unmarshal(body, &one) == nil {
			all.TransactItems = []map[string]write{{operation: one}}
		}
	case "TransactWriteItems":
		_ = json.Unmarshal(body, &all) // the emulator refuses what cannot be read
	}
	for _, change := range all.TransactItems {
		for kind, one := range change {
			table, err := m.tables.describe(r, one.TableName)
			if err != nil {
				slog.WarnContext(r.Context(), "a write is not counted", "error", err)
				continue
			}
			key := one.Key
			if key == nil {
				key = item{}
				for _, name := range table.keys {
					key[name] = one.Item[name]
				}
			}
			rows = append(rows, written{one.TableName, key, kind == "ConditionCheck"})
		}
	}
	return rows
}

// rows returns the rows as they are. A row that does not exist is nil.
func (m *meter) rows(r *http.Request, keys []written) []item {
	rows := make([]item, len(keys))
	for i, of := range keys {
		var answer struct{ Item item }
		err := m.tables.call(r, "GetItem", map[string]any{"TableName": of.table, "Key": of.key, "ConsistentRead": true}, &answer)
		if err != nil {
			slog.WarnContext(r.Context(), "a write is not counted", "error", err)
		}
		rows[i] = answer.Item
	}
	return rows
}

// writeUnits returns what a call takes to write rows and the indexes that they are in. A
// transaction takes two units for each one of a row, also for the rows that it only checks.
func (m *meter) writeUnits(r *http.Request, operation string, keys []written, before, after []item) (sum float64) {
	for i, of := range keys {
		row := units(max(before[i].size(), after[i].size()), writeUnit)
		if operation == "TransactWriteItems" {
			row *= 2
		}
		sum += row
		table, err := m.tables.describe(r, of.table)
		if err != nil || of.check {
			continue
		}
		for _, each := range table.indexes {
			sum += each.writeUnits(before[i], after[i])
		}
	}
	return sum
}

// writeUnits returns what the change of a row takes in the index: one write if the entry is new,
// gone or changed, and two if its key changed (DynamoDB Developer Guide, "Using Global Secondary
// Indexes in DynamoDB", "Write capacity units").
func (i index) writeUnits(before, after item) float64 {
	old, was := i.project(before)
	current, is := i.project(after)
	price := func(entry item) float64 { return units(entry.size()+indexOverhead, writeUnit) }
	same := func(names []string) bool {
		return !slices.ContainsFunc(names, func(name string) bool { return compact(old[name]) != compact(current[name]) })
	}
	var keys []string
	for _, key := range i.KeySchema {
		keys = append(keys, key.AttributeName)
	}
	switch {
	case was && is && !same(keys):
		return price(old) + price(current)
	case was && is && same(slices.Collect(maps.Keys(current))) && len(old) == len(current):
		return 0
	case was && is:
		return max(price(old), price(current))
	case was:
		return price(old)
	case is:
		return price(current)
	}
	return 0
}

func (u Usage) String() string {
	return fmt.Sprintf("%v, %.1f read units, %.1f write units, %d bytes sent, %d received", u.Calls, u.Reads, u.Writes, u.Sent, u.Received)
}
