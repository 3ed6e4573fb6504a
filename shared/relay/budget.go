package relay

import (
	"context"
	"slices"
	"sync"
)

// A budget spreads something that the process has little of, such as memory, over the
// triggers of a run. Each trigger has a share of it:
//
//   - A part of the budget is the trigger's own. No other trigger can take it.
//   - A trigger may take as much of the rest as it leaves free. So a trigger alone may
//     have half of it, and n busy triggers have an n+1st each.
//   - A trigger that holds nothing may take all that is free, for one message that is
//     larger than that. While it waits, no other trigger takes more than its own part.
//
// So a slow container cannot starve other triggers, and a message of any size has its turn.
type budget struct {
	size int64

	mu sync.Mutex
	// free is what is neither used nor part of an own part.
	free int64
	// waiting holds at most one request of each share.
	waiting []*request
}

// request asks for an amount between least and most.
type request struct {
	share       *share
	least, most int64
	granted     chan int64
}

// share is one trigger's part of a budget.
type share struct {
	budget    *budget
	own, used int64
	// turn keeps requests of one share in line.
	turn chan struct{}
}

func newBudget(size int64) *budget { return &budget{size: size, free: size} }

// join returns a new share with a part of its own.
func (b *budget) join(own int64) *share {
	s := &share{budget: b, turn: make(chan struct{}, 1)}
	s.setOwn(own)
	return s
}

// setOwn changes the share's own part.
func (s *share) setOwn(own int64) {
	s.budget.mu.Lock()
	defer s.budget.mu.Unlock()
	s.change(own, s.used)
	s.budget.settle()
}

// take waits until the share has at least least, and takes up to most. It returns the
// amount, or the error of ctx if ctx ends before.
func (s *share) take(ctx context.Context, least, most int64) (int64, error) {
	select {
	case s.turn <- struct{}{}: // most often, and without locking ctx, which all calls share
	default:
		select {
		case s.turn <- struct{}{}:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	defer func() { <-s.turn }()
	if n := s.try(least, most); n > 0 {
		return n, nil
	}
	b, asked := s.budget, &request{s, least, most, make(chan int64, 1)}
	b.mu.Lock()
	b.waiting = append(b.waiting, asked)
	b.settle()
	b.mu.Unlock()
	select {
	case n := <-asked.granted:
		return n, nil
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.Index(b.waiting, asked); i >= 0 {
		b.waiting = slices.Delete(b.waiting, i, i+1)
		b.settle()
		return 0, ctx.Err()
	}
	return <-asked.granted, nil
}

// try takes up to most if at least least is there without waiting. Otherwise it returns 0.
func (s *share) try(least, most int64) int64 {
	s.budget.mu.Lock()
	defer s.budget.mu.Unlock()
	starving := slices.ContainsFunc(s.budget.waiting, func(r *request) bool { return r.share.used == 0 })
	n := s.room(least, most, starving)
	s.change(s.own, s.used+n)
	return n
}

// give returns an amount to the budget.
func (s *share) give(n int64) {
	s.budget.mu.Lock()
	defer s.budget.mu.Unlock()
	s.change(s.own, s.used-n)
	s.budget.settle()
}

// leave returns all that the share has, including its own part.
func (s *share) leave() {
	s.budget.mu.Lock()
	defer s.budget.mu.Unlock()
	s.change(0, 0)
	s.budget.settle()
}

// change changes what the share has. The caller holds the lock.
func (s *share) change(own, used int64) {
	s.budget.free += max(s.own, s.used) - max(own, used)
	s.own, s.used = own, used
}

// room returns how much the share may take now, up to most, or 0 if that is less than
// least. With ownOnly set, it may take only of its own part.
func (s *share) room(least, most int64, ownOnly bool) int64 {
	can := s.own - s.used
	if !ownOnly {
		can = max(can, (s.budget.free+max(s.used, s.own))/2-s.used)
		if s.used == 0 && can < least && least <= s.own+s.budget.free {
			can = least
		}
	}
	if can < least {
		return 0
	}
	return min(can, most)
}

// settle grants the requests that can be granted. Shares that hold nothing come first, in
// the order of their requests. The caller holds the lock.
func (b *budget) settle() {
	starving := false
	for _, first := range []bool{true, false} {
		b.waiting = slices.DeleteFunc(b.waiting, func(r *request) bool {
			if (r.share.used == 0) != first {
				return false
			}
			n := r.share.room(r.least, r.most, starving)
			if n == 0 {
				starving = starving || first
				return false
			}
			r.share.change(r.share.own, r.share.used+n)
			r.granted <- n
			return true
		})
	}
}
