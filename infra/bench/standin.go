package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// standIn stands in for DynamoDB, for the calls of lists: moto takes seconds for a query of an
// index with 100,000 rows. It counts calls and read and write units as DynamoDB does.
type standIn struct {
	url    string
	server *http.Server

	mu      sync.Mutex
	rows    map[string]map[string]row // by the table and the row's key
	indexes map[string]map[string][]entry
	spent
}

// spent is what calls have cost.
type spent struct {
	calls       int
	read, write float64 // units
	entries     int     // that queries have read
}

func (s spent) minus(o spent) spent {
	return spent{s.calls - o.calls, s.read - o.read, s.write - o.write, s.entries - o.entries}
}

func (s spent) plus(o spent) spent {
	return spent{s.calls + o.calls, s.read + o.read, s.write + o.write, s.entries + o.entries}
}

// row is an item in DynamoDB's form.
type row map[string]attribute

type attribute map[string]json.RawMessage

// entry is a row as an index projects it.
type entry struct {
	sortKey string
	item    json.RawMessage
	size    int
}

// keys has the name of each table's key. Any other table is one of resources.
var keys = map[string]string{"counts": "scope", "snapshots": "name", "keys": "secret_hash"}

// projected are the attributes that the indexes for lists have (template.yaml).
var projected = []string{"id", "owner", "listing", "name", "namespace_id", "container_id", "source_type"}

// pageBytes is how much a query reads at most (API Reference, "Query").
const pageBytes = 1 << 20

func newStandIn() (*standIn, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	t := &standIn{url: "http://" + listener.Addr().String(), rows: map[string]map[string]row{}, indexes: map[string]map[string][]entry{"by-owner": {}, "by-container-in-order": {}}}
	t.server = &http.Server{ReadHeaderTimeout: time.Minute, Handler: t}
	go func() { _ = t.server.Serve(listener) }() // until it is closed
	return t, nil
}

func (t *standIn) close() { _ = t.server.Close() }

func (t *standIn) soFar() spent {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.spent
}

func keyName(table string) string {
	if name, ok := keys[table]; ok {
		return name
	}
	return "id"
}

func (r row) text(name string) string {
	var value string
	_ = json.Unmarshal(r[name]["S"], &value) // "" if there is none
	return value
}

func text(value string) attribute {
	encoded, _ := json.Marshal(value) // a string always encodes
	return attribute{"S": encoded}
}

func number(value int) attribute {
	encoded, _ := json.Marshal(strconv.Itoa(value)) // a string always encodes
	return attribute{"N": encoded}
}

// forget deletes the rows of a table.
func (t *standIn) forget(table string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.rows, table)
}

// size returns the number of rows of a table.
func (t *standIn) size(table string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.rows[table])
}

// size returns a row's size in bytes: its names and values (DynamoDB Developer Guide, "DynamoDB
// item sizes and formats"). What is not text is estimated by its JSON.
func (r row) size() (bytes int) {
	for name, value := range r {
		bytes += len(name)
		for kind, encoded := range value {
			if kind == "S" {
				bytes += len(encoded) - 2
			} else {
				bytes += len(encoded)
			}
		}
	}
	return bytes
}

// units returns how many units of a size the bytes take.
func units(bytes, unit int) float64 { return float64((bytes + unit - 1) / unit) }

// put stores a row, but not in the indexes, which order does.
func (t *standIn) put(table string, r row) {
	if t.rows[table] == nil {
		t.rows[table] = map[string]row{}
	}
	t.rows[table][r.text(keyName(table))] = r
}

// order makes the indexes of a table.
func (t *standIn) order(table string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for name, key := range map[string]string{"by-owner": "owner", "by-container-in-order": "container_id"} {
		index := map[string][]entry{}
		for _, r := range t.rows[table] {
			part := maps.Clone(r)
			maps.DeleteFunc(part, func(name string, _ attribute) bool { return !slices.Contains(projected, name) })
			item, _ := json.Marshal(part) // it was decoded from JSON
			// An entry has 100 bytes beside its attributes (the same page of the guide).
			index[r.text(key)] = append(index[r.text(key)], entry{r.text("listing"), item, part.size() + 100})
		}
		for _, entries := range index {
			slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.sortKey, b.sortKey) })
		}
		t.indexes[name] = index
	}
}

// request has the fields of the calls that lists make.
type request struct {
	TableName, IndexName                                    string
	Key, Item, ExpressionAttributeValues, ExclusiveStartKey row
	ConsistentRead                                          bool
	ScanIndexForward                                        *bool
	Limit                                                   int
	RequestItems                                            map[string]struct{ Keys []row }
	TransactItems                                           []map[string]struct {
		TableName string
		Item      row
	}
}

func (t *standIn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	body, err := io.ReadAll(r.Body)
	var asked request
	if err == nil {
		err = json.Unmarshal(body, &asked)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	t.mu.Lock()
	answer, err := t.answer(operation, asked)
	t.calls++
	t.mu.Unlock()
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		answer = map[string]string{"__type": "ValidationException", "message": err.Error()}
	}
	_ = json.NewEncoder(w).Encode(answer) // the client may have left
}

func (t *standIn) answer(operation string, asked request) (any, error) {
	switch operation {
	case "GetItem":
		found := t.rows[asked.TableName][asked.Key.text(keyName(asked.TableName))]
		t.read += max(units(found.size(), 4096), 1)
		if found == nil {
			return struct{}{}, nil
		}
		return map[string]any{"Item": found}, nil
	case "PutItem":
		t.write += units(asked.Item.size(), 1024)
		t.put(asked.TableName, asked.Item)
		return struct{}{}, nil
	case "TransactWriteItems":
		for _, change := range asked.TransactItems {
			if put, ok := change["Put"]; ok {
				t.put(put.TableName, put.Item)
			}
		}
		return struct{}{}, nil
	case "BatchGetItem":
		responses := map[string][]row{}
		for table, of := range asked.RequestItems {
			for _, key := range of.Keys {
				if found := t.rows[table][key.text("id")]; found != nil {
					t.read += units(found.size(), 4096)
					responses[table] = append(responses[table], found)
				}
			}
		}
		return map[string]any{"Responses": responses}, nil
	case "Query":
		return t.query(asked), nil
	}
	return nil, fmt.Errorf("the stand-in has no %s", operation)
}

// query answers a page of an index: the entries of a key, or those that begin with a project.
func (t *standIn) query(asked request) any {
	entries := t.indexes[asked.IndexName][asked.ExpressionAttributeValues.text(":key")]
	prefix := asked.ExpressionAttributeValues.text(":project")
	from, _ := slices.BinarySearchFunc(entries, prefix, func(e entry, key string) int { return strings.Compare(e.sortKey, key) })
	entries = entries[from:]
	if past := slices.IndexFunc(entries, func(e entry) bool { return !strings.HasPrefix(e.sortKey, prefix) }); past >= 0 {
		entries = entries[:past]
	}
	if asked.ScanIndexForward != nil && !*asked.ScanIndexForward {
		entries = slices.Clone(entries)
		slices.Reverse(entries)
	}
	if last := asked.ExclusiveStartKey.text("listing"); last != "" {
		entries = entries[1+slices.IndexFunc(entries, func(e entry) bool { return e.sortKey == last }):]
	}
	items, bytes := []json.RawMessage{}, 0
	for _, e := range entries {
		if bytes += e.size; bytes > pageBytes || asked.Limit > 0 && len(items) == asked.Limit {
			bytes -= e.size
			break
		}
		items = append(items, e.item)
	}
	t.read += max(units(bytes, 4096), 1) / 2
	t.entries += len(items)
	answer := map[string]any{"Items": items, "Count": len(items), "ScannedCount": len(items)}
	if len(items) < len(entries) {
		answer["LastEvaluatedKey"] = map[string]attribute{"listing": text(entries[len(items)-1].sortKey)}
	}
	return answer
}
