package guard

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"
)

// held keeps the emulator's event source mappings disabled, and shows callers the state that
// they asked for. The local cloud polls the sources. LocalStack polls as well, and would
// take messages for functions whose code it does not have.
type held struct {
	mu sync.Mutex
	// disabled are the mappings that callers have disabled, by UUID. A mapping that is
	// not in it counts as enabled, one from before this process, too.
	disabled map[string]bool
	// keepDeleted hides deleted mappings instead of deleting them, and uses one again for the
	// next mapping of its source and function. LocalStack never finishes the deletion of a
	// disabled mapping. A new guard shows them again, and callers delete them as orphans.
	keepDeleted bool
	hidden      map[string]bool
	// deleted are the mappings that callers have deleted, by UUID.
	deleted map[string]bool
	// changes are the changes of mappings that are under way, by UUID. Each lasts as long
	// as lasting says.
	changes map[string]change
	lasting time.Duration
	// results are the mappings' LastProcessingResult, by UUID.
	results map[string]string
}

// change is a change of a mapping that Lambda has accepted and not completed.
type change struct {
	state string
	end   time.Time
	// deleted is the mapping if it is being deleted. The emulator no longer has it.
	deleted map[string]any
}

func newHeld() *held {
	return &held{disabled: map[string]bool{}, deleted: map[string]bool{}, hidden: map[string]bool{}, changes: map[string]change{}, results: map[string]string{}}
}

func (h *held) setLasting(lasting time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lasting = lasting
}

func (h *held) endChanges() {
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.changes)
}

func (h *held) setResult(uuid, result string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.results[uuid] = result
}

// underWay returns the change of a mapping that is under way. The caller holds the lock.
func (h *held) underWay(uuid string) (change, bool) {
	current, ok := h.changes[uuid]
	if ok && time.Now().After(current.end) {
		delete(h.changes, uuid)
		return change{}, false
	}
	return current, ok
}

// begin notes a change that Lambda has accepted. The caller holds the lock.
func (h *held) begin(uuid, state string, deleted map[string]any) {
	if h.lasting > 0 {
		h.changes[uuid] = change{state: state, end: time.Now().Add(h.lasting), deleted: deleted}
	}
}

// polls reports whether Lambda polls the source of a mapping: not before Enabled, and until a
// change that ends it is complete.
func (h *held) polls(uuid string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if current, ok := h.underWay(uuid); ok {
		return current.state != "Creating" && current.state != "Enabling"
	}
	return !h.disabled[uuid] && !h.deleted[uuid]
}

// deleting returns a mapping that is being deleted.
func (h *held) deleting(uuid string) (map[string]any, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	current, _ := h.underWay(uuid)
	return current.deleted, current.deleted != nil
}

// deletingOf returns the mappings that are being deleted. An empty source or function
// stands for all of them.
func (h *held) deletingOf(source, function string) (mappings []map[string]any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for uuid := range h.changes {
		if deleted := h.changes[uuid].deleted; deleted != nil && (source == "" || deleted["EventSourceArn"] == source) &&
			(function == "" || isFunction(fmt.Sprint(deleted["FunctionArn"]), function)) {
			if _, ok := h.underWay(uuid); ok {
				mappings = append(mappings, deleted)
			}
		}
	}
	return mappings
}

// serve answers a request for one mapping that the emulator must not see. Lambda refuses to
// change a mapping while another change is under way (API reference of
// UpdateEventSourceMapping and DeleteEventSourceMapping, ResourceInUseException).
func (h *held) serve(w http.ResponseWriter, r *http.Request) (served bool) {
	uuid := path.Base(r.URL.Path)
	h.mu.Lock()
	current, busy := h.underWay(uuid)
	hidden := h.hidden[uuid]
	h.mu.Unlock()
	switch {
	case busy && r.Method != http.MethodGet:
		verb := map[string]string{http.MethodPut: "update", http.MethodDelete: "delete"}[r.Method]
		refusal{http.StatusBadRequest, "ResourceInUseException", "Cannot " + verb + " the event source mapping because it is in use."}.write(w)
	case current.deleted != nil:
		w.Header().Set("Content-Type", "application/json")
		body, _ := json.Marshal(current.deleted) // it was decoded from JSON
		_, _ = w.Write(body)
	case hidden:
		refusal{http.StatusNotFound, "ResourceNotFoundException", "The resource you requested does not exist."}.write(w)
	default:
		return false
	}
	return true
}

// isHidden reports whether a mapping is deleted for callers.
func (h *held) isHidden(uuid string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.hidden[uuid]
}

// hides is the key of a request's context that says that it deletes a mapping.
type hides struct{}

// again is the UUID of a hidden mapping that is to be used for a new one, in the
// context of its request.
type again struct{}

// wantsEnabled is the key of the state that a request asks for, in its context.
type wantsEnabled struct{}

// request returns a request to make or change a mapping as the emulator gets it.
func (h *held) request(r *http.Request, body []byte) (*http.Request, error) {
	r.Header.Del("Accept-Encoding") // response must be able to read the answer
	if r.Method == http.MethodDelete && h.keepDeleted {
		r = r.WithContext(context.WithValue(r.Context(), hides{}, true))
		r.Method = http.MethodGet
	}
	if r.Method != http.MethodPost && r.Method != http.MethodPut {
		return r, nil
	}
	var mapping map[string]json.RawMessage
	if err := json.Unmarshal(body, &mapping); err != nil {
		return nil, fmt.Errorf("reading a mapping: %w", err)
	}
	enabled := true
	if asked, ok := mapping["Enabled"]; ok {
		if err := json.Unmarshal(asked, &enabled); err != nil {
			return nil, fmt.Errorf("reading a mapping's Enabled: %w", err)
		}
	} else if r.Method == http.MethodPut {
		return r, nil // it leaves the state as it is
	}
	mapping["Enabled"] = json.RawMessage("false")
	if uuid, ok := r.Context().Value(again{}).(string); ok {
		delete(mapping, "EventSourceArn")
		r.Method, r.URL.Path = http.MethodPut, mappingsPath+"/"+uuid
	}
	changed, err := json.Marshal(mapping)
	if err != nil {
		return nil, fmt.Errorf("encoding a mapping: %w", err)
	}
	r = r.WithContext(context.WithValue(r.Context(), wantsEnabled{}, enabled))
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(changed)), int64(len(changed))
	return r, nil
}

// response puts the states that callers asked for into the emulator's answer.
func (h *held) response(r *http.Response) error {
	if !strings.HasPrefix(r.Request.URL.Path, mappingsPath) || r.StatusCode >= http.StatusMultipleChoices {
		return nil
	}
	var answer map[string]any
	decoder := json.NewDecoder(r.Body)
	decoder.UseNumber()
	err := decoder.Decode(&answer)
	_ = r.Body.Close() // it is read
	if err != nil {
		return fmt.Errorf("reading the emulator's mappings: %w", err)
	}
	if list, ok := answer["EventSourceMappings"].([]any); ok {
		visible := []any{}
		for _, one := range list {
			if mapping, ok := one.(map[string]any); ok && !h.isHidden(fmt.Sprint(mapping["UUID"])) {
				h.show(mapping)
				visible = append(visible, mapping)
			}
		}
		if answer["NextMarker"] == nil {
			query := r.Request.URL.Query()
			for _, mapping := range h.deletingOf(query.Get("EventSourceArn"), query.Get("FunctionName")) {
				visible = append(visible, mapping)
			}
		}
		answer["EventSourceMappings"] = visible
	} else {
		h.note(r.Request, answer)
		h.show(answer)
	}
	body, err := json.Marshal(answer)
	if err != nil {
		return fmt.Errorf("encoding mappings: %w", err)
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	r.Header.Set("Content-Length", strconv.Itoa(len(body)))
	return nil
}

// note remembers which state a request that took effect asked for, and the change that it
// began.
func (h *held) note(r *http.Request, mapping map[string]any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	uuid, ok := mapping["UUID"].(string)
	if !ok {
		return
	}
	enabled, asked := r.Context().Value(wantsEnabled{}).(bool)
	isNew := r.Method == http.MethodPost || r.Context().Value(again{}) != nil
	switch {
	case r.Method == http.MethodDelete || r.Context().Value(hides{}) != nil:
		if r.Method != http.MethodDelete {
			h.hidden[uuid] = true
		}
		h.deleted[uuid] = true
		delete(h.disabled, uuid)
		delete(h.results, uuid)
		mapping["State"] = "Deleting"
		h.begin(uuid, "Deleting", maps.Clone(mapping))
		return
	case isNew:
		delete(h.hidden, uuid)
		delete(h.deleted, uuid)
		h.begin(uuid, "Creating", nil)
	case r.Method == http.MethodPut && asked && enabled == h.disabled[uuid]:
		h.begin(uuid, map[bool]string{true: "Enabling", false: "Disabling"}[enabled], nil)
	case r.Method == http.MethodPut:
		h.begin(uuid, "Updating", nil)
	}
	switch {
	case !asked:
	case enabled:
		delete(h.disabled, uuid)
	default:
		h.disabled[uuid] = true
	}
}

// show makes a mapping look as it would if the emulator did as it was asked.
func (h *held) show(mapping map[string]any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	uuid, ok := mapping["UUID"].(string)
	if !ok || mapping["State"] == "Deleting" {
		return
	}
	if result, ok := h.results[uuid]; ok {
		mapping["LastProcessingResult"] = result
	}
	if current, ok := h.underWay(uuid); ok {
		mapping["State"] = current.state
		return
	}
	if h.disabled[uuid] {
		return
	}
	switch mapping["State"] {
	case "Disabled":
		mapping["State"] = "Enabled"
	case "Disabling":
		mapping["State"] = "Enabling"
	}
}
