package main

import (
	"context"

	"containertriggers/shared/aws/eventsource"
	"containertriggers/shared/aws/scheduler"
)

// list is what a run lists of AWS, once. Listing begins with the run, beside the scans that do
// not need it, because Lambda's rate makes it take seconds.
type list[T any] struct {
	done  chan struct{}
	value T
	err   error
}

// begin loads a list in the background.
func begin[T any](ctx context.Context, load func(context.Context) (T, error)) *list[T] {
	l := &list[T]{done: make(chan struct{})}
	go func() {
		defer close(l.done)
		l.value, l.err = load(ctx)
	}()
	return l
}

// get waits for the list. It keeps the error, because repeating the calls for each trigger
// would use up the service's rate.
func (l *list[T]) get(ctx context.Context) (T, error) {
	select {
	case <-l.done:
		return l.value, l.err
	case <-ctx.Done():
		return *new(T), ctx.Err()
	}
}

// listing is a part of the schedules of the group.
type listing struct {
	schedules scheduler.Listed
	// next is the token after which the rest is listed. It is "" if there is no rest.
	next string
}

// listAll begins the lists of a run. The caller calls stop after the scans. A list may take half
// of the time of the scans. If it takes longer, it fails before the scans that wait for it run
// out of time. So these scans handle what needs no list and go on, and the run returns the error.
func (s *sweep) listAll(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithTimeout(ctx, s.scanTime/2)
	s.began = s.now()
	s.mapped = begin(ctx, s.mappedQueues)
	from := s.progress[listedFrom]
	s.listed = begin(ctx, func(ctx context.Context) (listing, error) {
		listed, next, err := s.sources.Schedules.List(ctx, from, listPages)
		return listing{listed, next}, err
	})
	return func() {
		cancel()
		<-s.mapped.done
		<-s.listed.done
	}
}

// mappedQueues returns all mappings by the queue's ARN.
func (s *sweep) mappedQueues(ctx context.Context) (map[string][]eventsource.Mapping, error) {
	all, err := s.sources.Queues.Mappings.All(ctx)
	if err != nil {
		return nil, err
	}
	if beyond := s.sources.Queues.Mappings.BeyondReserve(all); beyond > 0 {
		s.setFound(beyondReserve, beyond)
	}
	mapped := map[string][]eventsource.Mapping{}
	for _, m := range all {
		mapped[m.QueueARN] = append(mapped[m.QueueARN], m)
	}
	return mapped, nil
}

// listedFrom is the bookmark of the token with which a run begins to list schedules.
const listedFrom = "listed schedules"
