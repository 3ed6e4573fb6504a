package relay

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"containertriggers/shared/aws/store"
)

const (
	// maxAckPending is the maximum number of messages in flight or waiting for a retry.
	// At the limit JetStream hands out no new message.
	maxAckPending = 10_000
	// bridgeTime is the time without use after which the server deletes a bridge consumer.
	bridgeTime = time.Minute
)

// These error codes of the JetStream API (nats-server, errors.json) have no name in
// nats.go.
const (
	codeWorkQueueUnfiltered jetstream.ErrorCode = 10099
	codeWorkQueueOverlap    jetstream.ErrorCode = 10100
	codeMaxAckPending       jetstream.ErrorCode = 10121
)

// errReplaced is the error of a check if the consumer is deleted, or differs from the
// one that the source found.
var errReplaced = errors.New("the consumer was deleted or changed")

// durable is the trigger's durable consumer of a stream. It keeps its position while no
// relay runs.
type durable struct {
	jetstream.Consumer
	found  *foundStream
	config jetstream.ConsumerConfig // as the server returned it
	// created is the time at which the consumer was created. It differs for another
	// consumer of the same name.
	created  time.Time
	progress *progress
	// failure is the error of repeated fetches, nil if the last one succeeded.
	failure atomic.Pointer[error]
	// ctx ends when the source stops fetching from the consumer, by cancel.
	ctx    context.Context
	cancel context.CancelFunc
}

// same reports whether other is the same consumer with the same config.
func (d *durable) same(other *durable) bool {
	return d != nil && d.progress == other.progress && d.created.Equal(other.created) && reflect.DeepEqual(d.config, other.config)
}

// origin returns a hash of the trigger's servers and subject.
func (s *natsSource) origin() string {
	sum := sha256.Sum256([]byte(strings.Join(s.config.ServerURLs, "\n") + "\n\n" + s.config.Subject))
	return hex.EncodeToString(sum[:16])
}

// consumerConfig returns the config for the trigger's consumer of a stream.
func (s *natsSource) consumerConfig(found *foundStream) jetstream.ConsumerConfig {
	config := jetstream.ConsumerConfig{
		Durable: s.group(), Description: "Container Triggers", FilterSubject: found.filter,
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: s.timing.AckWait, MaxDeliver: -1, MaxAckPending: maxAckPending,
	}
	if limit := found.Config.ConsumerLimits.MaxAckPending; limit > 0 {
		config.MaxAckPending = min(maxAckPending, limit)
	}
	return config
}

// startAfter returns the config of a new consumer that starts after the stored position.
func (s *natsSource) startAfter(config jetstream.ConsumerConfig, found *foundStream, stored store.Position) jetstream.ConsumerConfig {
	switch {
	case found.Config.Retention == jetstream.WorkQueuePolicy:
		// Such a stream allows no other policy, and deletes acknowledged messages.
		config.DeliverPolicy = jetstream.DeliverAllPolicy
	case isOf(stored, found):
		// A stream that was restored from a backup may have lost its last messages.
		config.DeliverPolicy, config.OptStartSeq = jetstream.DeliverByStartSequencePolicy, min(stored.Floor, found.State.LastSeq)+1
	case s.sub != nil && found.remote:
		config.DeliverPolicy, config.OptStartTime = jetstream.DeliverByStartTimePolicy, &s.subscribed
	case stored.Source == s.origin() && !s.receivedAll(found):
		// The stream of the position was deleted. All messages of the new one are newer.
		config.DeliverPolicy = jetstream.DeliverAllPolicy
	default:
		config.DeliverPolicy = jetstream.DeliverNewPolicy
	}
	return config
}

// isOf reports whether a position is one in this incarnation of the stream.
func isOf(stored store.Position, found *foundStream) bool {
	return stored.Stream == found.Config.Name && stored.Created.Equal(found.Created)
}

// receivedAll reports whether the source has received all messages of the stream by core
// NATS, because it subscribed before the stream was created. It compares ages, because
// the stream's times are those of the server's clock. The age of the subscription counts
// up to the request, so that a slow answer does not make it older than the stream.
func (s *natsSource) receivedAll(found *foundStream) bool {
	return s.sub != nil && !found.remote && found.asked.Sub(s.subscribed) >= found.TimeStamp.Sub(found.Created)
}

// ensureConsumer returns the trigger's consumer of a stream and corrects its config if
// necessary. If the consumer was deleted, or was changed so that it may have skipped
// messages, ensureConsumer creates it again at the stored position.
func (s *natsSource) ensureConsumer(ctx context.Context, js jetstream.JetStream, found *foundStream) (*durable, error) {
	stored, err := s.positions.Get(ctx, s.triggerID)
	if err != nil {
		s.log.WarnContext(ctx, "reading the position failed", "error", err)
		return nil, unsupported("the trigger's position in its stream cannot be read at the moment: the relay retries")
	}
	config := s.consumerConfig(found)
	consumer, err := js.Consumer(ctx, found.Config.Name, s.group())
	if err == nil && stored == (store.Position{}) {
		stored = s.positionIn(found, consumer.CachedInfo()) // the last run stored none
	}
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		consumer, err = s.createConsumer(ctx, js, found, s.startAfter(config, found, stored))
	case err == nil && !s.mayHaveSkipped(consumer.CachedInfo(), found, stored):
		have := consumer.CachedInfo().Config
		config.DeliverPolicy, config.OptStartSeq, config.OptStartTime = have.DeliverPolicy, have.OptStartSeq, have.OptStartTime
		consumer, err = s.updateConsumer(ctx, js, found, config, have)
	case err == nil, errors.Is(err, jetstream.ErrNotPullConsumer):
		s.log.WarnContext(ctx, "the consumer was changed at the server and is created again", "stream", found.Config.Name)
		consumer, err = s.recreateConsumer(ctx, js, found, s.startAfter(config, found, stored))
	}
	if err != nil {
		return nil, s.refusal(found, err)
	}
	info := consumer.CachedInfo()
	d := &durable{Consumer: consumer, found: found, config: info.Config, created: info.Created, progress: s.progressOf(found)}
	d.ctx, d.cancel = context.WithCancel(s.receiving)
	if found.Config.Retention == jetstream.WorkQueuePolicy && s.receivedAll(found) {
		d.progress.setReceived(found.State.LastSeq)
	}
	s.storePosition(ctx, d, info)
	return d, nil
}

// mayHaveSkipped reports whether a consumer with the trigger's name may have skipped
// messages of the trigger. That is so if the stored position is one of another consumer
// or of an earlier incarnation of the stream, or if the consumer's config hands out other
// messages or not all of them.
func (s *natsSource) mayHaveSkipped(info *jetstream.ConsumerInfo, found *foundStream, stored store.Position) bool {
	have, want := info.Config, s.consumerConfig(found)
	switch {
	case isOf(stored, found) && !stored.Consumer.Equal(info.Created):
		return true
	case stored.Stream == found.Config.Name && !isOf(stored, found) && stored.Source == s.origin():
		// The stream was replaced while a source created this consumer, which therefore
		// starts at a position in the earlier incarnation.
		return true
	case have.FilterSubject != want.FilterSubject && stored.Source != "" && stored.Source != s.origin():
		have.FilterSubject = want.FilterSubject // the owner changed the subject of the trigger
	}
	return have.AckPolicy != want.AckPolicy || have.FilterSubject != want.FilterSubject || len(have.FilterSubjects) > 0 ||
		have.MaxDeliver != want.MaxDeliver || have.HeadersOnly || have.ReplayPolicy != want.ReplayPolicy || have.MemoryStorage ||
		have.PriorityPolicy != want.PriorityPolicy || have.DeliverPolicy == jetstream.DeliverLastPolicy || have.DeliverPolicy == jetstream.DeliverLastPerSubjectPolicy
}

// createConsumer creates or updates a consumer. It takes the limit of the account if that
// is lower than maxAckPending.
func (s *natsSource) createConsumer(ctx context.Context, js jetstream.JetStream, found *foundStream, config jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	consumer, err := js.CreateOrUpdateConsumer(ctx, found.Config.Name, config)
	if refused, ok := errors.AsType[*jetstream.APIError](err); ok && refused.ErrorCode == codeMaxAckPending {
		config.MaxAckPending = 0 // the server then uses its limit
		consumer, err = js.CreateOrUpdateConsumer(ctx, found.Config.Name, config)
	}
	return consumer, err
}

// updateConsumer corrects the config of a consumer and resumes it if it is paused. It
// does not change the position.
func (s *natsSource) updateConsumer(ctx context.Context, js jetstream.JetStream, found *foundStream, config, have jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	config.MaxWaiting, config.Replicas, config.Metadata = have.MaxWaiting, have.Replicas, have.Metadata
	consumer, err := s.createConsumer(ctx, js, found, config)
	if err != nil || !consumer.CachedInfo().Paused {
		return consumer, err
	}
	if _, err := js.ResumeConsumer(ctx, found.Config.Name, s.group()); err != nil {
		return nil, fmt.Errorf("resuming the consumer: %w", err)
	}
	return js.Consumer(ctx, found.Config.Name, s.group())
}

// recreateConsumer deletes the consumer and creates it at another position. A stream with
// interest retention deletes messages that no consumer is interested in, so a bridge
// consumer keeps them meanwhile.
func (s *natsSource) recreateConsumer(ctx context.Context, js jetstream.JetStream, found *foundStream, config jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	stream, bridge := found.Config.Name, config
	bridge.Name, bridge.Durable, bridge.InactiveThreshold = s.group()+"-bridge", "", bridgeTime
	if limit := found.Config.ConsumerLimits.InactiveThreshold; limit > 0 {
		bridge.InactiveThreshold = min(bridgeTime, limit)
	}
	bridged := found.Config.Retention == jetstream.InterestPolicy
	if bridged {
		if _, err := s.createConsumer(ctx, js, found, bridge); err != nil {
			return nil, fmt.Errorf("creating the consumer %s: %w", bridge.Name, err)
		}
	}
	if err := js.DeleteConsumer(ctx, stream, s.group()); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return nil, fmt.Errorf("deleting the consumer: %w", err)
	}
	consumer, err := s.createConsumer(ctx, js, found, config)
	if bridged && err == nil {
		_ = js.DeleteConsumer(ctx, stream, bridge.Name) // if it fails, the server deletes it after bridgeTime
	}
	return consumer, err
}

// refusal returns an error that tells the trigger's owner why there is no consumer.
func (s *natsSource) refusal(found *foundStream, err error) error {
	refused, ok := errors.AsType[jetstream.JetStreamError](err)
	if !ok || refused.APIError() == nil {
		return asked("using the stream "+found.Config.Name, err)
	}
	stream := found.Config.Name
	switch api := refused.APIError(); api.ErrorCode {
	case jetstream.JSErrCodeMaximumConsumersLimit:
		return unsupported(fmt.Sprintf("the stream %s has reached its maximum number of consumers: raise max_consumers of the stream or its account, or delete a consumer", stream))
	case codeWorkQueueUnfiltered, codeWorkQueueOverlap:
		return unsupported(fmt.Sprintf("the stream %s has workqueue retention, and another consumer already receives messages of nats_config.subject: delete that consumer, or choose a subject that no other consumer has", stream))
	default:
		return unsupported(fmt.Sprintf("JetStream refuses the trigger's consumer of the stream %s: %s (error code %d)", stream, api.Description, api.ErrorCode))
	}
}

// inspect describes the consumer. It returns errReplaced if the consumer is deleted or
// changed.
func (s *natsSource) inspect(ctx context.Context, d *durable) (*jetstream.ConsumerInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timing.RequestTimeout)
	defer cancel()
	info, err := d.Info(ctx)
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound), errors.Is(err, jetstream.ErrStreamNotFound), errors.Is(err, nats.ErrNoResponders):
		return nil, errReplaced
	case err != nil:
		return nil, asked("describing the consumer of the stream "+d.found.Config.Name, err)
	case !d.created.Equal(info.Created), !reflect.DeepEqual(d.config, info.Config):
		return nil, errReplaced
	}
	return info, nil
}

// check stores the position of the consumer. It returns an error if the consumer is
// deleted or changed, or if fetches fail.
func (s *natsSource) check(ctx context.Context, d *durable) error {
	info, err := s.inspect(ctx, d)
	if err != nil {
		return err
	}
	s.storePosition(ctx, d, info)
	if failure := d.failure.Load(); failure != nil {
		return *failure
	}
	return nil
}

// asked wraps the error of a request to JetStream, for which the connection is not the
// reason.
func asked(doing string, err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) {
		return unsupported("JetStream does not answer in time: make sure that the stream and its consumers have a leader, and that the user may publish to $JS.API.> and $JS.ACK.>")
	}
	if refused, ok := errors.AsType[jetstream.JetStreamError](err); ok && refused.APIError() != nil {
		return unsupported(fmt.Sprintf("JetStream answers with an error: %s (error code %d)", refused.APIError().Description, refused.APIError().ErrorCode))
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// positionIn returns the position of a consumer.
func (s *natsSource) positionIn(found *foundStream, info *jetstream.ConsumerInfo) store.Position {
	return store.Position{Stream: found.Config.Name, Created: found.Created, Consumer: info.Created, Floor: info.AckFloor.Stream, Source: s.origin()}
}

// storePosition stores the position of the consumer, in case the consumer is deleted. It
// writes only if the position has changed. If it fails, a consumer that is created again
// starts at an older position, and the source repeats messages.
func (s *natsSource) storePosition(ctx context.Context, d *durable, info *jetstream.ConsumerInfo) {
	position := s.positionIn(d.found, info)
	if position == s.stored {
		return
	}
	if err := s.positions.Set(ctx, s.triggerID, position); err != nil {
		s.log.WarnContext(ctx, "storing the position failed", "error", err)
		return
	}
	s.stored = position
	d.progress.setFloor(position.Floor)
}

// deleteLastConsumer deletes the trigger's consumer of the last stream. Otherwise a stream
// with interest or workqueue retention would keep the trigger's messages forever.
func (s *natsSource) deleteLastConsumer() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), s.timing.RequestTimeout)
	defer cancel()
	js, err := jetstream.New(s.conn)
	if err == nil && !s.conn.IsConnected() {
		err = nats.ErrDisconnected
	}
	stream := ""
	if s.durable != nil {
		stream = s.durable.found.Config.Name
	} else if err == nil {
		stream, err = s.lastStream(ctx, js)
	}
	if err != nil {
		s.log.WarnContext(ctx, "deleting the consumer failed", "error", err)
	} else if stream != "" {
		s.deleteConsumer(ctx, js, stream)
	}
}

// lastStream returns the name of the stream that an earlier run received from. It returns
// "" if there is none.
func (s *natsSource) lastStream(ctx context.Context, js jetstream.JetStream) (string, error) {
	stored, err := s.positions.Get(ctx, s.triggerID)
	if err != nil || stored.Stream != "" {
		return stored.Stream, err
	}
	found, err := s.findStream(ctx, js)
	if err != nil || found == nil {
		return "", err
	}
	return found.Config.Name, nil
}

// deleteConsumer deletes the trigger's consumer of a stream, if there is one.
func (s *natsSource) deleteConsumer(ctx context.Context, js jetstream.JetStream, stream string) {
	err := js.DeleteConsumer(ctx, stream, s.group())
	if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) && !errors.Is(err, jetstream.ErrStreamNotFound) {
		s.log.WarnContext(ctx, "deleting the consumer failed", "stream", stream, "error", err)
	}
}

// obsolete reports whether the trigger's next source does not use the consumer of this
// one, because it receives from another stream or from core NATS.
func (s *natsSource) obsolete(next source) bool {
	other, ok := next.(*natsSource)
	if !ok || s.durable == nil {
		return false
	}
	other.subMu.Lock()
	defer other.subMu.Unlock()
	if other.durable == nil {
		return other.sub != nil
	}
	was, is := s.durable.found, other.durable.found
	return was.Config.Name != is.Config.Name || !was.Created.Equal(is.Created) && !slices.Equal(s.config.ServerURLs, other.config.ServerURLs)
}
