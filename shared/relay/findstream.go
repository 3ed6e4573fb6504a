package relay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// foundStream is a stream that holds all messages of a trigger's subject.
type foundStream struct {
	*jetstream.StreamInfo
	// filter is the subject under which the stream stores the trigger's messages.
	filter string
	// remote is true if the messages come from other streams. They then do not come by
	// core NATS.
	remote bool
	// asked is a time before the server described the stream.
	asked time.Time
}

// unsupported is an error text that tells the trigger's owner how to solve it.
type unsupported string

func (u unsupported) Error() string { return string(u) }

// findStream returns a stream that holds all messages of the trigger's subject. It
// returns nil if there is none, or if the user may not list streams. If the server does
// not answer, findStream returns an error, because the subject may have a stream.
func (s *natsSource) findStream(ctx context.Context, js jetstream.JetStream) (*foundStream, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timing.RequestTimeout)
	defer cancel()
	request := s.now()
	// The server filters streams by the subjects that they listen to. That misses mirrors,
	// and streams that store messages under other subjects.
	for _, find := range []struct {
		match   func(context.Context, jetstream.JetStream, *jetstream.StreamInfo) (*foundStream, error)
		options []jetstream.StreamListOpt
	}{
		{s.publishedTo, []jetstream.StreamListOpt{jetstream.WithStreamListSubject(s.config.Subject)}},
		{s.storedIn, nil},
	} {
		streams := js.ListStreams(ctx, find.options...)
		for info := range streams.Info() {
			found, err := find.match(ctx, js, info)
			if found != nil {
				found.asked = request
			}
			if found != nil || err != nil {
				return found, err
			}
		}
		switch err := streams.Err(); {
		case err == nil:
		case s.listDenied.Load(), errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
			return nil, nil
		default:
			return nil, asked("listing streams", err)
		}
	}
	return nil, nil
}

// publishedTo returns the stream if it stores every message that is published to the
// trigger's subject. Otherwise it returns nil.
func (s *natsSource) publishedTo(_ context.Context, _ jetstream.JetStream, info *jetstream.StreamInfo) (*foundStream, error) {
	if !slices.ContainsFunc(info.Config.Subjects, func(taken string) bool { return covers(taken, s.config.Subject) }) {
		return nil, nil
	}
	filter, err := transformed(info.Config.SubjectTransform, s.config.Subject)
	if err != nil {
		return nil, unsupported(fmt.Sprintf("the stream %s cannot be filtered by nats_config.subject: %v; use a subject under which the stream stores messages",
			info.Config.Name, err))
	}
	return &foundStream{StreamInfo: info, filter: filter}, nil
}

// storedIn returns the stream if it stores messages under the trigger's subject that are
// published to another subject, or on another server. Otherwise it returns nil.
func (s *natsSource) storedIn(ctx context.Context, js jetstream.JetStream, info *jetstream.StreamInfo) (*foundStream, error) {
	found := &foundStream{StreamInfo: info, filter: s.config.Subject, remote: true}
	if transform := info.Config.SubjectTransform; transform != nil && covers(storedBy(transform.Destination), s.config.Subject) {
		return found, nil
	}
	origins := info.Config.Sources
	if info.Config.Mirror != nil {
		origins = []*jetstream.StreamSource{info.Config.Mirror}
	}
	ask := false
	for _, origin := range origins {
		all, known := brings(origin, s.config.Subject)
		if all {
			return found, nil
		}
		ask = ask || !known
	}
	if !ask {
		return nil, nil
	}
	// A message with the subject shows that the stream stores the subject.
	ctx, cancel := context.WithTimeout(ctx, s.timing.RequestTimeout/5)
	defer cancel()
	stream, err := js.Stream(ctx, info.Config.Name)
	if err == nil {
		_, err = stream.GetLastMsgForSubject(ctx, s.config.Subject)
	}
	if err == nil {
		return found, nil
	}
	if !errors.Is(err, jetstream.ErrMsgNotFound) {
		s.log.WarnContext(ctx, "it is unknown whether a stream holds the subject", "stream", info.Config.Name, "error", err)
	}
	return nil, nil
}
