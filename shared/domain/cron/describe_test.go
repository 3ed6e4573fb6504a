package cron_test

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"containertriggers/shared/domain/cron"
)

func TestDescribe_IsPlainEnglish(t *testing.T) {
	t.Parallel()
	for schedule, want := range map[string]string{
		"* * * * *":                "every minute",
		"@hourly":                  "at minute 0 of every hour",
		"5,20 * * * *":             "at minutes 5 and 20 of every hour",
		"0-5 * * * *":              "at minutes 0 through 5 of every hour",
		"*/15 * * * *":             "every 15 minutes",
		"*/7 * * * *":              "at minutes 0, 7, 14, 21, 28, 35, 42, 49 and 56 of every hour",
		"*/15 9-17 * * MON-FRI":    "every 15 minutes of hours 9 through 17 on Monday through Friday",
		"* 9 * * *":                "every minute of hour 9",
		"30 */2 * * *":             "at minute 30 of hours 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20 and 22",
		"@daily":                   "at 00:00 every day",
		"0 8 * * 1-5":              "at 08:00 on Monday through Friday",
		"0,30 8,12,20 * * FRI-SUN": "at 08:00, 08:30, 12:00, 12:30, 20:00 and 20:30 on Friday through Sunday",
		"0 8 * * 0,6":              "at 08:00 on Saturday and Sunday",
		"0 0 1 * 1":                "at 00:00 on the 1st of the month or on Monday",
		"0 0 1-7,22,23 * *":        "at 00:00 on the 1st through 7th, 22nd and 23rd of the month",
		"0 0 */9 * 1,2":            "at 00:00 on the 1st, 10th, 19th and 28th of the month if it is Monday or Tuesday",
		"@yearly":                  "at 00:00 on the 1st of the month in January",
		"0 12 * JUN-AUG,12 *":      "at 12:00 every day in June through August and December",
		"*/20 * * 1 *":             "every 20 minutes in January",
		"0 0 11,12,13 * *":         "at 00:00 on the 11th through 13th of the month",
		"59 23 31 12 */2":          "at 23:59 on the 31st of the month if it is Tuesday, Thursday, Saturday or Sunday in December",
		"0-59/30 0-23/1 * * 0-6":   "every 30 minutes",
		"0,1,2,58,59 0-22 * * *":   "at minutes 0 through 2, 58 and 59 of hours 0 through 22",
		"0 0 30 2 1":               "at 00:00 on Monday in February",
	} {
		if got := parse(t, schedule).Describe(); got != want {
			t.Errorf("%q: got %q, want %q", schedule, got, want)
		}
	}
}

// anySchedule draws a schedule of every form.
func anySchedule(t *rapid.T) cron.Schedule {
	field := func(name string, first, last int) string {
		number := rapid.IntRange(first, last)
		element := rapid.Custom(func(t *rapid.T) string {
			from, to := number.Draw(t, "from"), number.Draw(t, "to")
			switch rapid.IntRange(0, 3).Draw(t, "form") {
			case 0:
				return strconv.Itoa(from)
			case 1:
				return fmt.Sprintf("%d-%d", min(from, to), max(from, to))
			case 2:
				return fmt.Sprintf("%d-%d/%d", min(from, to), max(from, to), rapid.IntRange(1, 20).Draw(t, "step"))
			default:
				return fmt.Sprintf("*/%d", rapid.IntRange(1, 31).Draw(t, "step"))
			}
		})
		if rapid.Bool().Draw(t, name+" is *") {
			return "*"
		}
		return strings.Join(rapid.SliceOfN(element, 1, 4).Draw(t, name), ",")
	}
	for {
		text := strings.Join([]string{field("minute", 0, 59), field("hour", 0, 23), field("day of month", 1, 31), field("month", 1, 12), field("day of week", 0, 7)}, " ")
		if s, err := cron.Parse(text); err == nil { // the days may never come in the months
			return s
		}
	}
}

// TestDescribe_NamesTheFields reads the words, and compares them with the schedule in each
// minute of an hour, each hour of a day and each of 400 days.
func TestDescribe_NamesTheFields(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := anySchedule(t)
		words := s.Describe()
		matches, ok := read(words)
		if !ok {
			t.Fatalf("%q is no description", words)
		}
		at := s.Next(time.Date(2027, 12, 1, 0, 0, 0, 0, time.UTC), time.UTC)
		if !matches(at) {
			t.Fatalf("%q does not say %v", words, at)
		}
		year, month, day := at.Date()
		var times []time.Time
		for i := range 60 {
			times = append(times, time.Date(year, month, day, at.Hour(), i, 0, 0, time.UTC))
		}
		for i := range 24 {
			times = append(times, time.Date(year, month, day, i, at.Minute(), 0, 0, time.UTC))
		}
		for i := range 400 {
			times = append(times, at.AddDate(0, 0, i))
		}
		for _, at := range times {
			if occurs := s.Next(at.Add(-time.Second), time.UTC).Equal(at); occurs != matches(at) {
				t.Fatalf("%q: occurs at %v %t", words, at, occurs)
			}
		}
	})
}

var (
	sentence = regexp.MustCompile(`^(?:at ([0-9:, and]+?)(?: every day)?|(at minutes?|every) (.+?))(?: of (every hour|hours? .+?))?(?: on (.+?))?(?: in ([A-Z].+))?$`)
	ofMonth  = regexp.MustCompile(`^the (.+) of the month(?:( if it is | or on )(.+))?$`)
	steps    = regexp.MustCompile(`^(\d+) minutes$`)
)

// read returns a function that reports whether a description names a time.
func read(words string) (matches func(time.Time) bool, ok bool) {
	found := sentence.FindStringSubmatch(words)
	if found == nil {
		return nil, false
	}
	times := named(found[1], func(n int) string { return fmt.Sprintf("%02d:%02d", n/60, n%60) }, 24*60)
	minutes := named(found[3], strconv.Itoa, 60)
	if step := steps.FindStringSubmatch(found[3]); step != nil {
		n, _ := strconv.Atoi(step[1])
		for m := 0; m < 60; m += n {
			minutes[m] = true
		}
	}
	hours := named(strings.TrimLeft(found[4], "hours "), strconv.Itoa, 24)
	months := named(found[6], func(n int) string { return time.Month(n).String() }, 13)
	days := ofMonth.FindStringSubmatch(found[5])
	if days == nil {
		days = []string{"", "", " if it is ", found[5]}
	}
	dates := named(days[1], func(n int) string {
		return strconv.Itoa(n) + map[int]string{1: "st", 2: "nd", 3: "rd", 21: "st", 22: "nd", 23: "rd", 31: "st"}[n]
	}, 32)
	weekdays := named(days[3], func(n int) string { return time.Weekday((n + 1) % 7).String() }, 7)
	return func(t time.Time) bool {
		date, weekday := dates.has(t.Day()), weekdays.has((int(t.Weekday())+6)%7)
		either := days[2] == " or on " && (date || weekday)
		return times.has(t.Hour()*60+t.Minute()) && minutes.has(t.Minute()) && hours.has(t.Hour()) &&
			months.has(int(t.Month())) && (either || date && weekday)
	}, true
}

// set holds numbers. An empty set stands for all numbers.
type set map[int]bool

func (s set) has(n int) bool { return len(s) == 0 || s[n] }

var separators = regexp.MustCompile(`, | and | or `)

// named returns the numbers below end that a list in words names. name returns a number's
// word; that of an ordinal may leave out "th".
func named(list string, name func(int) string, end int) set {
	numbers := set{}
	for _, element := range separators.Split(list, -1) {
		first, last, ranged := strings.Cut(element, " through ")
		if !ranged {
			last = first
		}
		within := false
		for n := range end {
			within = within || strings.TrimSuffix(first, "th") == name(n)
			if within {
				numbers[n] = true
			}
			within = within && strings.TrimSuffix(last, "th") != name(n)
		}
	}
	return numbers
}

func TestUpcoming_NotesChangesOfTheClock(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		schedule, zone, after string
		want                  []string
	}{
		"a time that does not exist": {
			"30 2 * * *", "Europe/Paris", "2027-03-26 12:00:00",
			[]string{"03-27 02:30", "03-29 02:30 02:30 does not exist on 28 March 2027: not run"},
		},
		"several that do not exist": {
			"*/15 1,2 * * *", "Europe/Paris", "2027-03-28 01:40:00",
			[]string{"03-28 01:45", "03-29 01:00 02:00 to 02:45 do not exist on 28 March 2027: not run"},
		},
		"before the first": {
			"30 2 * * *", "Europe/Paris", "2027-03-28 00:00:00", []string{"03-29 02:30 02:30 does not exist on 28 March 2027: not run"},
		},
		"a time that comes twice": {
			"30 2 * * *", "Europe/Paris", "2027-10-30 12:00:00", []string{"10-31 02:30 02:30 comes twice on 31 October 2027: run the first time", "11-01 02:30"},
		},
		"every hour": {
			"0 * * * *", "Europe/Paris", "2027-10-31 01:30:00", []string{"10-31 02:00", "10-31 02:00", "10-31 03:00"},
		},
		"every hour of Sundays": {
			"0 * * * 0", "Europe/Paris", "2027-10-31 01:30:00", []string{"10-31 02:00 02:00 comes twice on 31 October 2027: run the first time", "10-31 03:00"},
		},
		"half an hour back": {
			"45 * * * *", "Australia/Lord_Howe", "2027-04-04 00:50:00", []string{"04-04 01:45 01:45 comes twice on 4 April 2027: run the first time", "04-04 02:45"},
		},
		"two days that do not exist": {
			"0 0,12 30 12 *", "Pacific/Apia", "2011-01-01 00:00:00", []string{"12-30 00:00 00:00 to 12:00 do not exist on 30 December 2011: not run"},
		},
		"years that have it and years that do not": {
			"30 2 28 3 *", "Europe/Paris", "2026-04-01 00:00:00", []string{"03-28 02:30 02:30 does not exist on 28 March 2027: not run"},
		},
		"UTC": {"30 2 * * *", "UTC", "2027-03-27 12:00:00", []string{"03-28 02:30", "03-29 02:30"}},
	} {
		zone := load(t, test.zone)
		after, err := time.ParseInLocation(time.DateTime, test.after, zone)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, found := range parse(t, test.schedule).Upcoming(after, zone, len(test.want)) {
			got = append(got, strings.TrimSpace(found.At.Format("01-02 15:04")+" "+found.Note))
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: got\n%q, want\n%q", name, got, test.want)
		}
	}
}
