package guard

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// lag makes global secondary indexes lag behind their tables, as they do on AWS (DynamoDB
// Developer Guide, "Using Global Secondary Indexes in DynamoDB": "eventually consistent").
// Before a write it reads the row. Until the write's lag is over, a query of an index returns
// the row's former state.
//
// It knows tables with the key "id", which all tables with an index have here. It does not
// change counts without items, and it shows no old state to a query with a filter.
type lag struct {
	tables *emulated
	// of returns how long the indexes lag behind the next write.
	of func() time.Duration

	mu     sync.Mutex
	before map[string]map[string]version // by the table and the row's ID
}

// version is a state of a row that the indexes show.
type version struct {
	row   item // nil if there was none
	until time.Time
}

// SetIndexLag makes the indexes of tables lag. of returns for each write how long they do.
func (g *Guard) SetIndexLag(of func() time.Duration) {
	g.lag.Store(&lag{tables: g.tables, of: of, before: map[string]map[string]version{}})
}

// write is the part of a write to a table that names the row.
type write struct {
	TableName string
	Key, Item item
}

// request notes the rows of a write. It returns a query with the change of its answer in the
// context, and other calls unchanged.
func (l *lag) request(r *http.Request, body []byte) (*http.Request, error) {
	operation, ours := strings.CutPrefix(r.Header.Get("X-Amz-Target"), dynamoDBTarget)
	if l == nil || !ours {
		return r, nil
	}
	switch operation {
	case "PutItem", "UpdateItem", "DeleteItem":
		var one write
		if err := json.Unmarshal(body, &one); err != nil {
			return r, fmt.Errorf("reading a write: %w", err)
		}
		return r, l.note(r, one)
	case "TransactWriteItems":
		var all struct{ TransactItems []map[string]write }
		if err := json.Unmarshal(body, &all); err != nil {
			return r, fmt.Errorf("reading a transaction: %w", err)
		}
		for _, change := range all.TransactItems {
			for kind, one := range change {
				if kind == "ConditionCheck" {
					continue
				}
				if err := l.note(r, one); err != nil {
					return r, err
				}
			}
		}
	case "Query":
		var asked query
		if err := json.Unmarshal(body, &asked); err != nil {
			return r, fmt.Errorf("reading a query: %w", err)
		}
		if asked.IndexName == "" {
			return r, nil
		}
		table, err := l.tables.describe(r, asked.TableName)
		if err != nil {
			return r, err
		}
		described := table.indexes[asked.IndexName]
		r.Header.Del("Accept-Encoding") // response must be able to read the answer
		return r.WithContext(context.WithValue(r.Context(), lagging{}, func(answer map[string]any) error { return l.age(asked, described, answer) })), nil
	}
	return r, nil
}

// lagging is the key of the function that ages a query's answer, in the query's context.
type lagging struct{}

// note keeps the state that the indexes have of a row before a write.
func (l *lag) note(r *http.Request, one write) error {
	id := cmp.Or(compact(one.Key["id"]), compact(one.Item["id"]))
	behind := l.of()
	if id == "" || behind <= 0 {
		return nil
	}
	var answer struct{ Item item }
	err := l.tables.call(r, "GetItem", map[string]any{"TableName": one.TableName, "Key": map[string]json.RawMessage{"id": json.RawMessage(id)}, "ConsistentRead": true}, &answer)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	rows := l.before[one.TableName]
	if rows == nil {
		rows = map[string]version{}
		l.before[one.TableName] = rows
	}
	if last, ok := rows[id]; !ok || time.Now().After(last.until) {
		rows[id] = version{answer.Item, time.Now().Add(behind)} // else the index has not caught up
	}
	return nil
}

// query is a query of an index.
type query struct {
	TableName, IndexName, KeyConditionExpression, FilterExpression string
	ExpressionAttributeNames                                       map[string]string
	ExpressionAttributeValues, ExclusiveStartKey                   item
	Limit                                                          int
}

// The forms of key conditions that the service uses.
var (
	equals = regexp.MustCompile(`(#?\w+) = (:\w+)`)
	begins = regexp.MustCompile(`begins_with\((#?\w+), (:\w+)\)`)
)

// matches reports whether a row is among those that the query asks for.
func (q query) matches(row item) bool {
	value := func(name string) string {
		if real, ok := q.ExpressionAttributeNames[name]; ok {
			name = real
		}
		return compact(row[name])
	}
	if row == nil {
		return false
	}
	for _, part := range equals.FindAllStringSubmatch(q.KeyConditionExpression, -1) {
		if value(part[1]) != compact(q.ExpressionAttributeValues[part[2]]) {
			return false
		}
	}
	for _, part := range begins.FindAllStringSubmatch(q.KeyConditionExpression, -1) {
		prefix := strings.TrimSuffix(compact(q.ExpressionAttributeValues[part[2]]), `"}`)
		if !strings.HasPrefix(value(part[1]), prefix) {
			return false
		}
	}
	return true
}

// project returns the attributes of a row that the index has. It returns false if the row
// does not have the index's keys.
func (i index) project(row item) (projected item, ok bool) {
	projected = item{}
	names := append(slices.Clone(i.tableKeys), i.Projection.NonKeyAttributes...)
	for _, key := range i.KeySchema {
		if row[key.AttributeName] == nil {
			return nil, false
		}
		names = append(names, key.AttributeName)
	}
	for _, name := range names {
		if value, has := row[name]; has {
			projected[name] = value
		}
	}
	return projected, true
}

// sortKey returns the attribute that the index is sorted by.
func (i index) sortKey() string {
	for _, key := range i.KeySchema {
		if key.KeyType == "RANGE" {
			return key.AttributeName
		}
	}
	return "id"
}

// age changes the answer of a query to the state that the index has.
func (l *lag) age(asked query, of index, answer map[string]any) error {
	encoded, err := json.Marshal(answer["Items"])
	if err != nil {
		return fmt.Errorf("reading the rows of a query: %w", err)
	}
	var items []item
	if err := json.Unmarshal(encoded, &items); err != nil || items == nil {
		return err // a count
	}
	onePage := asked.ExclusiveStartKey == nil && answer["LastEvaluatedKey"] == nil && asked.FilterExpression == ""
	l.mu.Lock()
	for id, old := range l.before[asked.TableName] {
		if time.Now().After(old.until) {
			delete(l.before[asked.TableName], id)
			continue
		}
		had := asked.matches(old.row)
		if had && !onePage {
			continue
		}
		items = slices.DeleteFunc(items, func(one item) bool { return compact(one["id"]) == id })
		if projected, ok := of.project(old.row); had && ok {
			items = append(items, projected)
		}
	}
	l.mu.Unlock()
	slices.SortFunc(items, func(a, b item) int { return bytes.Compare(a[of.sortKey()], b[of.sortKey()]) })
	if asked.Limit > 0 && len(items) > asked.Limit {
		items = items[:asked.Limit]
	}
	answer["Items"], answer["Count"] = items, len(items)
	return nil
}

// age changes the answer of a query of an index that lags.
func age(r *http.Response) error {
	change, ok := r.Request.Context().Value(lagging{}).(func(map[string]any) error)
	if !ok || r.StatusCode != http.StatusOK {
		return nil
	}
	var answer map[string]any
	decoder := json.NewDecoder(r.Body)
	decoder.UseNumber()
	err := decoder.Decode(&answer)
	_ = r.Body.Close() // it is read
	if err == nil {
		err = change(answer)
	}
	if err != nil {
		return fmt.Errorf("aging the answer of a query: %w", err)
	}
	body, err := json.Marshal(answer)
	if err != nil {
		return fmt.Errorf("encoding the answer of a query: %w", err)
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	r.Header.Set("Content-Length", strconv.Itoa(len(body)))
	r.Header.Del("X-Amz-Crc32") // that of another body
	return nil
}

// apply applies the lag to a request. If the emulator does not answer, the request goes on
// without it, and fails by itself.
func (l *lag) apply(r *http.Request, body []byte) *http.Request {
	changed, err := l.request(r, body)
	if err != nil && r.Context().Err() == nil {
		slog.WarnContext(r.Context(), "an index does not lag", "error", err)
	}
	return changed
}
