package trigger

import (
	"maps"
	"slices"
	"strings"

	"containertriggers/shared/contract/apierr"
	"containertriggers/shared/contract/request"
)

// Delivery has the settings for the delivery of a trigger's events. It is the delivery_config
// of the API.
type Delivery struct {
	// History is empty if the default of the source applies.
	History History `json:"history,omitempty"`
}

// History says which runs of a trigger are kept.
type History string

// The values of history. HistoryFailures keeps a run from its first failed attempt on, and
// also says that it succeeded later.
const (
	HistoryAll      History = "all"
	HistoryFailures History = "failures"
	HistoryNone     History = "none"
)

// deliveryTag is the prefix of a tag that sets a field of delivery_config, as in
// "delivery.history=all". Stock clients cannot send the field itself.
const deliveryTag = "delivery."

// deliveryFields has a function for each field of delivery_config. It sets the field to the
// value of a tag, and returns false if the value is not valid.
var deliveryFields = map[string]func(*Delivery, string) bool{
	"history": func(d *Delivery, value string) bool {
		d.History = History(value)
		return slices.Contains(histories, value)
	},
}

var histories = []string{string(HistoryAll), string(HistoryFailures), string(HistoryNone)}

// Effective returns the settings that apply: those of tags, those of delivery_config, and the
// defaults of the source, in this order.
func (t Trigger) Effective() Delivery {
	d := t.Delivery
	if d.History == "" {
		d.History = HistoryFailures
		if t.Cron != nil {
			d.History = HistoryAll
		}
	}
	for _, tag := range t.Tags {
		if field, value, ok := deliveryField(tag); ok {
			if set := deliveryFields[field]; set != nil {
				set(&d, value)
			}
		}
	}
	return d
}

// History says which runs of the trigger are kept.
func (t Trigger) History() History { return t.Effective().History }

// deliveryField returns the field and the value that a tag sets. It returns false for a tag
// of another form.
func deliveryField(tag string) (field, value string, ok bool) {
	if tag, ok = strings.CutPrefix(tag, deliveryTag); !ok {
		return "", "", false
	}
	return strings.Cut(tag, "=")
}

// checkDeliveryTags adds a fault for each tag that sets no field of delivery_config, or sets
// it to a wrong value. So a misspelled one does not pass in silence.
func checkDeliveryTags(faults *apierr.Arguments, argument string, tags []string) {
	for _, tag := range tags {
		field, value, ok := deliveryField(tag)
		if !ok {
			continue
		}
		set := deliveryFields[field]
		switch {
		case set == nil:
			faults.Add(argument, apierr.Constraint, "must not have "+deliveryTag+field+", which is no setting of the delivery; the settings are "+strings.Join(slices.Sorted(maps.Keys(deliveryFields)), ", "))
		case !set(&Delivery{}, value):
			faults.Add(argument, apierr.Constraint, "must not have the value "+value+" for "+deliveryTag+field)
		}
	}
}

// deliveryChange has the fields of delivery_config that a body gives.
type deliveryChange struct {
	history *string
}

// decodeDelivery parses delivery_config.
func decodeDelivery(object request.Object) *deliveryChange {
	delivery, ok := object.Object("delivery_config")
	if !ok {
		return nil
	}
	delivery.Only(slices.Sorted(maps.Keys(deliveryFields))...)
	return &deliveryChange{history: delivery.Enum("history", histories...)}
}

// setDelivery sets the fields that the body gives. A value that applies already is no change,
// so that a client may send what it got.
func (t *Trigger) setDelivery(change *deliveryChange) {
	if change != nil && change.history != nil && History(*change.history) != t.History() {
		t.Delivery.History = History(*change.history)
	}
}
