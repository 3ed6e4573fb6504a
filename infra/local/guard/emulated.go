package guard

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
)

const dynamoDBTarget = "DynamoDB_20120810."

// item is a row, or the part of a row that an index projects, in DynamoDB's form.
type item map[string]json.RawMessage

// compact returns a value without the spaces that the emulator puts into it.
func compact(value json.RawMessage) string {
	var text bytes.Buffer
	if json.Compact(&text, value) != nil {
		return "" // there is none
	}
	return text.String()
}

// index is an index as DescribeTable answers it.
type index struct {
	IndexName  string
	KeySchema  []struct{ AttributeName, KeyType string }
	Projection struct {
		ProjectionType   string
		NonKeyAttributes []string
	}
	// tableKeys are the attributes of the table's key, which each index has.
	tableKeys []string
}

// emulated is what the emulator tells of its tables.
type emulated struct {
	endpoint string

	mu     sync.Mutex
	tables map[string]described
}

// described is a table.
type described struct {
	// keys are the attributes of its key.
	keys    []string
	indexes map[string]index
}

func newEmulated(endpoint string) *emulated {
	return &emulated{endpoint: endpoint, tables: map[string]described{}}
}

// describe returns a table. It asks the emulator once.
func (e *emulated) describe(as *http.Request, name string) (described, error) {
	e.mu.Lock()
	known, ok := e.tables[name]
	e.mu.Unlock()
	if ok {
		return known, nil
	}
	var answer struct {
		Table struct {
			KeySchema              []struct{ AttributeName string }
			GlobalSecondaryIndexes []index
		}
	}
	if err := e.call(as, "DescribeTable", map[string]any{"TableName": name}, &answer); err != nil {
		return described{}, err
	}
	known = described{indexes: map[string]index{}}
	for _, key := range answer.Table.KeySchema {
		known.keys = append(known.keys, key.AttributeName)
	}
	for _, one := range answer.Table.GlobalSecondaryIndexes {
		one.tableKeys = known.keys
		known.indexes[one.IndexName] = one
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.tables[name] = known
	return known, nil
}

// call calls the emulator as the caller of another call.
func (e *emulated) call(as *http.Request, operation string, input, answer any) error {
	body, err := json.Marshal(input)
	if err != nil {
		return fmt.Errorf("encoding a %s: %w", operation, err)
	}
	r, err := http.NewRequestWithContext(as.Context(), http.MethodPost, e.endpoint, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("calling %s: %w", operation, err)
	}
	for _, name := range []string{"Authorization", "X-Amz-Date", "Content-Type"} {
		r.Header.Set(name, as.Header.Get(name))
	}
	r.Header.Set("X-Amz-Target", dynamoDBTarget+operation)
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return fmt.Errorf("calling %s: %w", operation, err)
	}
	defer func() { _ = response.Body.Close() }() // it is read
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", operation, response.Status)
	}
	if err := json.NewDecoder(response.Body).Decode(answer); err != nil {
		return fmt.Errorf("reading the answer of %s: %w", operation, err)
	}
	return nil
}
