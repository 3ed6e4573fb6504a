package awscron_test

import (
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/adhocore/gronx"
	robfig "github.com/robfig/cron/v3"
	"pgregory.net/rapid"

	"containertriggers/infra/local/awscron"
	"containertriggers/shared/domain/cron"
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
	texts []string // by field
	sets  [5][]int
	plain []string // by field
	// either is set if neither day field begins with "*": crontab(5) lets one of
	// them suffice.
	either bool
}

var limits = [5][2]int{{0, 59}, {0, 23}, {1, 31}, {1, 12}, {0, 6}}

var names = [5][]string{
	3: {"", "JAN", "feb", "Mar", "APR", "may", "Jun", "JUL", "aug", "Sep", "OCT", "nov", "Dec"},
	4: {"SUN", "mon", "Tue", "WED", "thu", "Fri", "SAT"},
}

func drawSchedule(t *rapid.T) schedule {
	var s schedule
	for i, limit := range limits {
		text, set := drawField(t, i, limit)
		s.texts, s.sets[i] = append(s.texts, text), set
		plain := "*"
		if len(set) <= limit[1]-limit[0] {
			numbers := make([]string, len(set))
			for j, n := range set {
				numbers[j] = strconv.Itoa(n)
			}
			plain = strings.Join(numbers, ",")
		}
		s.plain = append(s.plain, plain)
	}
	s.text = strings.Join(s.texts, " ")
	s.either = !strings.HasPrefix(s.texts[2], "*") && !strings.HasPrefix(s.texts[4], "*")
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
		forms := 4
		if i == 2 || i == 4 {
			forms = 5 // a day field that matches every day without a "*"
		}
		switch rapid.IntRange(0, forms).Draw(t, "form") {
		case 5:
			texts, set = append(texts, fmt.Sprintf("%d-%d", first, last)), append(set, span(first, last, 1)...)
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

// full reports whether the field matches everything.
func (s schedule) full(i int) bool { return len(s.sets[i]) == limits[i][1]-limits[i][0]+1 }

// meant is the set of minutes in a window that the schedule means, by robfig's
// reading of its plain form on a clock that knows no daylight saving time, by
// crontab(5)'s rule for the day fields, and by the rules for changes of the clock
// that package cron states.
func meant(t *rapid.T, s schedule, zone *time.Location, from, to time.Time) []time.Time {
	every := s.full(1) && s.full(3) && (s.full(2) && s.full(4) || s.either && (s.full(2) || s.full(4)))
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
	for _, w := range firings(t, s, wallFrom, wallTo) {
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

// firings are the local times in a window that the schedule means. robfig reads
// the day fields one at a time, because it takes "*/2" for restricted, which
// crontab(5) does not.
func firings(t *rapid.T, s schedule, from, to time.Time) []time.Time {
	read := func(dayOfMonth, dayOfWeek string) (list []time.Time) {
		plain := fmt.Sprintf("%s %s %s %s %s", s.plain[0], s.plain[1], dayOfMonth, s.plain[3], dayOfWeek)
		parsed, err := robfig.ParseStandard(plain)
		if err != nil {
			t.Fatalf("robfig refuses %q: %v", plain, err)
		}
		for w := parsed.Next(from.Add(-time.Second)); !w.IsZero() && w.Before(to); w = parsed.Next(w) {
			list = append(list, w)
		}
		return list
	}
	if !s.either && (s.full(2) || s.full(4)) {
		return read(s.plain[2], s.plain[4])
	}
	byMonth, byWeek := read(s.plain[2], "*"), read("*", s.plain[4])
	if s.either {
		union := append(byMonth, byWeek...)
		slices.SortFunc(union, time.Time.Compare)
		return slices.Compact(union)
	}
	return slices.DeleteFunc(byMonth, func(w time.Time) bool {
		_, both := slices.BinarySearchFunc(byWeek, w, time.Time.Compare)
		return !both
	})
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

// fired is the set of minutes in a window at which the AWS expressions fire and
// pass their filters.
func fired(t *rapid.T, s cron.Schedule, zone *time.Location, expressions []cron.Expression, from, to time.Time) []time.Time {
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
			if s.Passes(expression.Filter, m, zone) {
				minutes = append(minutes, m.UTC())
			}
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

func TestExpressions_FireAtExactlyTheMinutesOfTheSchedule(t *testing.T) {
	t.Parallel()
	var schedules, minutes, unions, filtered atomic.Int64
	for range rounds { // rapid draws 100 schedules for each, side by side
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
					compare(t, "AWS fires", s, zone, fired(t, parsed, zone, expressions, window[0], window[1]), want)
					compare(t, "Next tells", s, zone, next(parsed, zone, window[0], window[1]), want)
					minutes.Add(int64(len(want)))
				}
				schedules.Add(1)
				unions.Add(int64(len(expressions) - 1))
				if expressions[0].Filter != cron.NoFilter {
					filtered.Add(1)
				}
			})
		})
	}
	t.Cleanup(func() {
		t.Logf("compared %d schedules, %d of them in two expressions, %d with a filter, at %d minutes", schedules.Load(), unions.Load(), filtered.Load(), minutes.Load())
		if unions.Load() == 0 || filtered.Load() == 0 {
			t.Error("no schedule was drawn that needs two expressions, or none that needs a filter")
		}
	})
}

func neverComes(s schedule) bool {
	for _, month := range s.sets[3] {
		days := time.Date(2024, time.Month(month)+1, 0, 0, 0, 0, 0, time.UTC).Day()
		if s.sets[2][0] <= days {
			return false
		}
	}
	return !s.either
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

// gronx applies crontab(5)'s rule for the day fields itself. It is asked about the
// fields as they are written, but for lists of days of the week that begin with
// "*,", in which it overlooks the "*".
func TestSchedule_DaysAgreeWithGronx(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := drawSchedule(t)
		if strings.HasPrefix(s.texts[4], "*,") {
			return
		}
		text := fmt.Sprintf("0 0 %s * %s", s.texts[2], s.texts[4])
		parsed, err := cron.Parse(text)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		day := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, rapid.IntRange(0, 20*365).Draw(t, "day"))
		for range 62 {
			want, err := gronx.New().IsDue(text, day)
			if err != nil {
				t.Fatalf("gronx refuses %q: %v", text, err)
			}
			if due := parsed.Next(day.Add(-time.Second), time.UTC).Equal(day); due != want {
				t.Fatalf("%q: due on %s: %t, by gronx %t", text, day.Format("Monday 2006-01-02"), due, want)
			}
			day = day.AddDate(0, 0, 1)
		}
	})
}
