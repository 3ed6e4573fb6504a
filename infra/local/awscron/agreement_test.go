package awscron_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	robfig "github.com/robfig/cron/v3"
	"pgregory.net/rapid"

	"containertriggers/infra/local/awscron"
	"containertriggers/shared/cron"
)

// zones cover what clocks do: nothing, whole hours, half an hour, odd offsets,
// changes at midnight, Ramadan, a day left out.
var zones = []string{
	"UTC", "Europe/Paris", "America/New_York", "America/Havana", "America/St_Johns", "Africa/Cairo",
	"Africa/Casablanca", "Asia/Beirut", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe",
	"Pacific/Apia", "Pacific/Chatham", "America/Santiago", "Europe/Dublin",
}

// schedule is a random schedule in three forms: as a user may write it, as sets,
// and as the plain lists that every cron understands.
type schedule struct {
	text  string
	sets  [5][]int
	plain string
}

var limits = [5][2]int{{0, 59}, {0, 23}, {1, 31}, {1, 12}, {0, 6}}

var names = [5][]string{
	3: {"", "JAN", "feb", "Mar", "APR", "may", "Jun", "JUL", "aug", "Sep", "OCT", "nov", "Dec"},
	4: {"SUN", "mon", "Tue", "WED", "thu", "Fri", "SAT"},
}

func drawSchedule(t *rapid.T) schedule {
	var s schedule
	var texts, plains []string
	for i, limit := range limits {
		text, set := drawField(t, i, limit)
		texts, s.sets[i] = append(texts, text), set
		plain := "*"
		if len(set) <= limit[1]-limit[0] {
			numbers := make([]string, len(set))
			for j, n := range set {
				numbers[j] = strconv.Itoa(n)
			}
			plain = strings.Join(numbers, ",")
		}
		plains = append(plains, plain)
	}
	s.text, s.plain = strings.Join(texts, " "), strings.Join(plains, " ")
	return s
}

// drawField draws a field's text and, on its own, the set that it means.
func drawField(t *rapid.T, i int, limit [2]int) (string, []int) {
	first, last := limit[0], limit[1]
	value := rapid.IntRange(first, last)
	if rapid.IntRange(0, 2).Draw(t, "star") == 0 {
		return "*", span(first, last, 1)
	}
	var texts []string
	var set []int
	for range rapid.IntRange(1, 3).Draw(t, "elements") {
		a, b := value.Draw(t, "a"), value.Draw(t, "b")
		a, b = min(a, b), max(a, b)
		step := rapid.IntRange(1, last-first).Draw(t, "step")
		switch rapid.IntRange(0, 4).Draw(t, "form") {
		case 0:
			texts, set = append(texts, render(t, i, a)), append(set, a)
		case 1:
			texts, set = append(texts, render(t, i, a)+"-"+render(t, i, b)), append(set, span(a, b, 1)...)
		case 2:
			texts, set = append(texts, fmt.Sprintf("*/%d", step)), append(set, span(first, last, step)...)
		case 3:
			texts, set = append(texts, fmt.Sprintf("%s-%s/%d", render(t, i, a), render(t, i, b), step)), append(set, span(a, b, step)...)
		case 4:
			texts, set = append(texts, fmt.Sprintf("%s/%d", render(t, i, a), step)), append(set, span(a, last, step)...)
			if i == 4 && a > 0 && rapid.Bool().Draw(t, "to Sunday") {
				texts[len(texts)-1] = render(t, i, a) + "-7"
				set = append(set, append(span(a, 6, 1), 0)...)
			}
		}
	}
	slices.Sort(set)
	return strings.Join(texts, ","), slices.Compact(set)
}

func render(t *rapid.T, i, n int) string {
	if names[i] != nil && rapid.Bool().Draw(t, "name") {
		return names[i][n]
	}
	return strconv.Itoa(n)
}

func span(first, last, step int) []int {
	var set []int
	for n := first; n <= last; n += step {
		set = append(set, n)
	}
	return set
}

// meant is the set of minutes in a window that the schedule means, by robfig's
// reading of its plain form on a clock that knows no daylight saving time, and by
// the rules for changes of the clock that package cron states.
func meant(t *rapid.T, s schedule, zone *time.Location, from, to time.Time) []time.Time {
	parsed, err := robfig.ParseStandard(s.plain)
	if err != nil {
		t.Fatalf("robfig refuses %q: %v", s.plain, err)
	}
	every := true
	for i := 1; i < 5; i++ {
		every = every && len(s.sets[i]) == limits[i][1]-limits[i][0]+1
	}
	var minutes []time.Time
	if every && wholeHours(zone, from, to) {
		for m := from; m.Before(to); m = m.Add(time.Minute) {
			if slices.Contains(s.sets[0], m.Minute()) {
				minutes = append(minutes, m)
			}
		}
		return minutes
	}
	// Each local time comes with the instants at which clocks show it.
	shown := map[time.Time]time.Time{}
	wallFrom, wallTo := wall(from.In(zone)).Add(-4*time.Hour), wall(to.In(zone)).Add(4*time.Hour)
	var firings []time.Time
	for w := parsed.Next(wallFrom.Add(-time.Second)); !w.IsZero() && w.Before(wallTo); w = parsed.Next(w) {
		firings = append(firings, w)
	}
	if len(firings) == 0 {
		return nil
	}
	for _, w := range firings {
		for _, o := range offsets(zone, w) {
			instant := w.Add(-o)
			if earlier, seen := shown[w]; wall(instant.In(zone)).Equal(w) && (!seen || instant.Before(earlier)) {
				shown[w] = instant
			}
		}
	}
	for _, instant := range shown {
		if !instant.Before(from) && instant.Before(to) {
			minutes = append(minutes, instant)
		}
	}
	slices.SortFunc(minutes, time.Time.Compare)
	return minutes
}

// offsets are the zone's offsets in the days around a local time.
func offsets(zone *time.Location, w time.Time) []time.Duration {
	var list []time.Duration
	for hours := -30; hours <= 30; hours += 3 {
		o := time.Duration(offset(zone, w.Add(time.Duration(hours)*time.Hour))) * time.Second
		if !slices.Contains(list, o) {
			list = append(list, o)
		}
	}
	return list
}

func offset(zone *time.Location, t time.Time) int {
	_, seconds := t.In(zone).Zone()
	return seconds
}

func wall(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), 0, time.UTC)
}

func wholeHours(zone *time.Location, from, to time.Time) bool {
	for t := from.AddDate(-1, 0, 0); t.Before(to.AddDate(1, 0, 0)); t = t.Add(24 * time.Hour) {
		if offset(zone, t)%3600 != 0 {
			return false
		}
	}
	return true
}

// fired is the set of minutes in a window at which the AWS expressions fire.
func fired(t *rapid.T, expressions []cron.Expression, from, to time.Time) []time.Time {
	var minutes []time.Time
	for _, expression := range expressions {
		if len(expression.Cron) > 256 {
			t.Fatalf("%s has more than 256 characters", expression.Cron)
		}
		parsed, err := awscron.Parse(expression.Cron, expression.Timezone)
		if err != nil {
			t.Fatal(err)
		}
		for m, ok := parsed.Next(from.Add(-time.Second)); ok && m.Before(to); m, ok = parsed.Next(m) {
			minutes = append(minutes, m.UTC())
		}
	}
	slices.SortFunc(minutes, time.Time.Compare)
	return slices.Compact(minutes)
}

// next is the set of minutes in a window that package cron itself tells.
func next(s cron.Schedule, zone *time.Location, from, to time.Time) []time.Time {
	var minutes []time.Time
	for m := s.Next(from.Add(-time.Second), zone); !m.IsZero() && m.Before(to); m = s.Next(m, zone) {
		minutes = append(minutes, m.UTC())
	}
	return minutes
}

// windows are what is compared: two years in whole where the schedule is sparse,
// else some hours around every change of the clock in two years, and others.
func windows(t *rapid.T, s schedule, zone *time.Location) [][2]time.Time {
	start := time.Date(rapid.IntRange(2020, 2034).Draw(t, "year"), 1, 1, 0, 0, 0, 0, time.UTC)
	end := start.AddDate(2, 0, 0)
	if len(s.sets[0])*len(s.sets[1]) <= 2 {
		return [][2]time.Time{{start, end}}
	}
	var list [][2]time.Time
	add := func(middle time.Time) {
		list = append(list, [2]time.Time{middle.Add(-3 * time.Hour), middle.Add(3 * time.Hour)})
	}
	for at := start; at.Before(end); at = at.Add(6 * time.Hour) {
		if offset(zone, at) != offset(zone, at.Add(6*time.Hour)) {
			minutes := sort.Search(6*60, func(m int) bool {
				return offset(zone, at.Add(time.Duration(m)*time.Minute)) != offset(zone, at)
			})
			add(at.Add(time.Duration(minutes) * time.Minute))
		}
	}
	for range 3 {
		add(start.Add(time.Duration(rapid.IntRange(0, 730*24-1).Draw(t, "hour")) * time.Hour))
	}
	return list
}

func TestAWSFiresAtExactlyTheMinutesThatTheScheduleMeans(t *testing.T) {
	t.Parallel()
	var schedules, minutes, unions atomic.Int64
	for range 20 { // rapid draws 100 schedules for each, side by side
		t.Run("schedules", func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) {
				s := drawSchedule(t)
				parsed, err := cron.Parse(s.text)
				if err != nil {
					if strings.Contains(err.Error(), "never comes") && neverComes(s) {
						return
					}
					t.Fatalf("%q: %v", s.text, err)
				}
				zone, err := cron.LoadZone(rapid.SampledFrom(zones).Draw(t, "zone"))
				if err != nil {
					t.Fatal(err)
				}
				expressions := parsed.Expressions(zone)
				for _, window := range windows(t, s, zone) {
					want := meant(t, s, zone, window[0], window[1])
					compare(t, "AWS fires", s, zone, fired(t, expressions, window[0], window[1]), want)
					compare(t, "Next tells", s, zone, next(parsed, zone, window[0], window[1]), want)
					sampleMatches(t, parsed, s, zone, window, want)
					minutes.Add(int64(len(want)))
				}
				schedules.Add(1)
				unions.Add(int64(len(expressions) - 1))
			})
		})
	}
	t.Cleanup(func() {
		t.Logf("compared %d schedules, %d of them in two expressions, at %d minutes", schedules.Load(), unions.Load(), minutes.Load())
	})
}

func neverComes(s schedule) bool {
	for _, month := range s.sets[3] {
		days := time.Date(2024, time.Month(month)+1, 0, 0, 0, 0, 0, time.UTC).Day()
		if s.sets[2][0] <= days {
			return false
		}
	}
	return len(s.sets[4]) == 7
}

func compare(t *rapid.T, what string, s schedule, zone *time.Location, got, want []time.Time) {
	if slices.EqualFunc(got, want, time.Time.Equal) {
		return
	}
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || !got[i].Equal(want[i]) {
			t.Fatalf("%q in %s: %s %v, and means %v", s.text, zone, what, got[i:min(i+3, len(got))], want[i:min(i+3, len(want))])
		}
	}
}

// sampleMatches asks for some minutes of a window whether they match.
func sampleMatches(t *rapid.T, parsed cron.Schedule, s schedule, zone *time.Location, window [2]time.Time, want []time.Time) {
	span := int64(window[1].Sub(window[0]) / time.Minute)
	random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
	samples := slices.Clone(want[:min(len(want), 50)])
	for range 50 {
		samples = append(samples, window[0].Add(time.Duration(random.Int64N(span))*time.Minute))
	}
	for _, m := range samples {
		_, due := slices.BinarySearchFunc(want, m, time.Time.Compare)
		if parsed.Matches(m, zone) != due {
			t.Fatalf("%q in %s: Matches(%v) is %t", s.text, zone, m.In(zone), !due)
		}
	}
}
