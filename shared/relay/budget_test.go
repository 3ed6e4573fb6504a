package relay

import (
	"context"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"
)

// taken takes from a share in the background and returns where the amount arrives.
func taken(t *testing.T, s *share, least, most int64) <-chan int64 {
	t.Helper()
	got := make(chan int64, 1)
	go func() {
		if n, err := s.take(t.Context(), least, most); err == nil {
			got <- n
		}
	}()
	return got
}

// expect fails the test unless a request has got an amount. 0 means that it waits.
func expect(t *testing.T, what string, got <-chan int64, want int64) {
	t.Helper()
	synctest.Wait()
	select {
	case n := <-got:
		if n != want {
			t.Errorf("%s: got %d, want %d", what, n, want)
		}
	default:
		if want != 0 {
			t.Errorf("%s: it waits, want %d", what, want)
		}
	}
}

func TestBudget_OneTriggerLeavesAsMuchAsItTakes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(120)
		greedy, other := b.join(10), b.join(10)
		expect(t, "alone", taken(t, greedy, 1, 1000), 55) // (100+10)/2
		more := taken(t, greedy, 20, 20)
		expect(t, "more of the same", more, 0)
		expect(t, "another trigger", taken(t, other, 1, 1000), 32) // of 55 that are free
		greedy.give(55)
		expect(t, "after its first is back", more, 20)
	})
}

func TestBudget_AMessageOfAnySizeHasItsTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(100)
		slow, large, small := b.join(0), b.join(10), b.join(10) // 80 are free
		expect(t, "a slow container", taken(t, slow, 30, 30), 30)
		first := taken(t, large, 90, 90) // all that there is
		expect(t, "a large message", first, 0)
		expect(t, "a small message of the same trigger", taken(t, small, 10, 10), 10)
		behind := taken(t, slow, 5, 5)
		expect(t, "more of the slow container", behind, 0)
		slow.give(30)
		expect(t, "the large message", first, 90)
		expect(t, "what is behind it", behind, 0)
		large.give(90)
		expect(t, "what was behind it", behind, 5)
	})
}

func TestBudget_AnEndedRequestLetsOthersPass(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(100)
		holder, large, other := b.join(0), b.join(0), b.join(0)
		expect(t, "the holder", taken(t, holder, 50, 50), 50)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() {
			_, err := large.take(ctx, 100, 100)
			ended <- err
		}()
		synctest.Wait()
		waits := taken(t, other, 10, 10)
		expect(t, "behind the large one", waits, 0)
		cancel()
		if err := <-ended; err == nil {
			t.Error("an ended request was granted")
		}
		synctest.Wait()
		expect(t, "after it has ended", waits, 10)
		holder.leave()
		if b.free != 90 || holder.try(1, 1) != 1 {
			t.Errorf("%d are free", b.free)
		}
	})
}

// The budget never gives out more than it has, and gives each share its own part at once.
func TestBudget_NeverExceedsItsSize(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		const size, own = 1000, 20
		b := newBudget(size)
		shares := make([]*share, rapid.IntRange(1, size/own).Draw(t, "shares"))
		for i := range shares {
			shares[i] = b.join(own)
		}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			s := shares[rapid.IntRange(0, len(shares)-1).Draw(t, "share")]
			if rapid.Bool().Draw(t, "give") {
				s.give(rapid.Int64Range(0, s.used).Draw(t, "back"))
			} else if least := rapid.Int64Range(1, size).Draw(t, "least"); s.try(least, size) == 0 && s.used+least <= own {
				t.Fatalf("a share that has %d could not take %d", s.used, least)
			}
			total := b.free
			for _, s := range shares {
				total += max(s.used, s.own)
			}
			if total != size || b.free < 0 {
				t.Fatalf("%d of %d, %d free", total, size, b.free)
			}
		}
	})
}
