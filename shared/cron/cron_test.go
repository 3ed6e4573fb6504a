package cron_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"containertriggers/shared/cron"
)

func parse(t testing.TB, expression string) cron.Schedule {
	t.Helper()
	s, err := cron.Parse(expression)
	if err != nil {
		t.Fatalf("%q: %v", expression, err)
	}
	return s
}

func load(t testing.TB, name string) *time.Location {
	t.Helper()
	zone, err := cron.LoadZone(name)
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

func TestNotationsOfTheSameScheduleAreEqual(t *testing.T) {
	t.Parallel()
	for expression, same := range map[string]string{
		"*/15 * * * *":            "0,15,30,45 * * * *",
		"5/15 * * * *":            "5,20,35,50 * * * *",
		"10-50/20 * * * *":        "10,30,50 * * * *",
		"*/7 * * * *":             "0,7,14,21,28,35,42,49,56 * * * *",
		"0 0 * * 7":               "0 0 * * 0",
		"0 0 * * sun":             "0 0 * * 0",
		"0 0 * * 5-7":             "0 0 * * 0,5,6",
		"0 0 * * FRI-SUN":         "0 0 * * fri,SAT,Sun",
		"0 0 * * sat-sun":         "0 0 * * 6,7",
		"0 0 * * SUN-tue":         "0 0 * * 0-2",
		"0 0 * * 0-7":             "0 0 * * *",
		"0 0 * * SUN-SUN":         "0 0 * * 0",
		"0 0 * * 7/2":             "0 0 * * 0",
		"0 0 * JAN,feb,Mar *":     "0 0 * 1-3 *",
		"0 0 1-31 1-12 0-6":       "0 0 * * *",
		"00 007 01 1 *":           "0 7 1 1 *",
		" 0\t0  * * * ":           "0 0 * * *",
		"@YEARLY":                 "0 0 1 1 *",
		"@annually":               "@yearly",
		"@monthly":                "0 0 1 * *",
		"@weekly":                 "0 0 * * 0",
		"@Daily":                  "@midnight",
		"@hourly":                 "0 * * * *",
		"0 0 29 2 *":              "0 0 29 FEB *",
		"1-3,2-4,2,2 * * * *":     "1-4 * * * *",
		"59/1 23/1 31/1 12/1 6/1": "59 23 31 12 6",
	} {
		if parse(t, expression) != parse(t, same) {
			t.Errorf("%q is not %q", expression, same)
		}
	}
}

func TestWrongSchedulesNameTheFieldAndTheProblem(t *testing.T) {
	t.Parallel()
	for expression, want := range map[string]string{
		"":                          "schedule: needs five fields (minute, hour, day of month, month, day of week), got 0",
		"* * * *":                   "schedule: needs five fields (minute, hour, day of month, month, day of week), got 4",
		"0 * * * * *":               "schedule: needs five fields (minute, hour, day of month, month, day of week), got 6",
		"@reboot":                   "schedule: @reboot is not supported: there is nothing that boots",
		"@fortnightly":              `schedule: "@fortnightly" is not one of`,
		"@daily @daily":             "schedule: needs five fields",
		"60 * * * *":                "minute: 60 is out of range 0-59",
		"* 24 * * *":                "hour: 24 is out of range 0-23",
		"* * 0 * *":                 "day of month: 0 is out of range 1-31",
		"* * 32 * *":                "day of month: 32 is out of range 1-31",
		"* * * 13 *":                "month: 13 is out of range 1-12",
		"* * * 0 *":                 "month: 0 is out of range 1-12",
		"* * * * 8":                 "day of week: 8 is out of range 0-7",
		"1,,2 * * * *":              `minute: "1,,2" has an empty list element`,
		", * * * *":                 `minute: "," has an empty list element`,
		"5-1 * * * *":               `minute: the range "5-1" is reversed`,
		"* * * * SAT-MON":           `day of week: the range "SAT-MON" is reversed`,
		"* * * * 6-0":               `day of week: the range "6-0" is reversed`,
		"*/0 * * * *":               `minute: "*/0" has the step "0", which must be a number from 1 on`,
		"*/ * * * *":                `minute: "*/" has the step ""`,
		"*/-1 * * * *":              `minute: "*/-1" has the step "-1"`,
		"1/2/3 * * * *":             `minute: "1/2/3" has the step "2/3"`,
		"-1 * * * *":                `minute: "" is not a number`,
		"+1 * * * *":                `minute: "+1" is not a number`,
		"1- * * * *":                `minute: "" is not a number`,
		"1-2-3 * * * *":             `minute: "2-3" is not a number`,
		"x * * * *":                 `minute: "x" is not a number`,
		"**  * * * *":               `minute: "**" is not a number`,
		"99999999999999999 * * * *": `minute: "99999999999999999" is not a number`,
		"* * * MONDAY *":            `month: "MONDAY" is neither a number nor a name such as FEB`,
		"* * * * JAN":               `day of week: "JAN" is neither a number nor a name such as MON`,
		"0 0 ? * 1":                 `day of month: "?" is Quartz's notation, not UNIX cron's`,
		"0 0 L * *":                 `day of month: "L" is Quartz's notation, not UNIX cron's`,
		"0 0 15W * *":               `day of month: "15W" is Quartz's notation, not UNIX cron's`,
		"0 0 * * 1#2":               `day of week: "1#2" is Quartz's notation, not UNIX cron's`,
		"0 0 30 2 *":                `day of month: "30" never comes in the months of "2"`,
		"0 0 31 2,4,6,9,11 *":       `day of month: "31" never comes in the months of "2,4,6,9,11"`,
		"* * * *\n*":                "schedule: needs five fields",
		"* * * * *\n":               `day of week: "*\n" is neither`,
		"\x00 * * * *":              `minute: "\x00" is not a number`,
		strings.Repeat("*", 1025):   "schedule: must have at most 1024 bytes",
	} {
		_, err := cron.Parse(expression)
		if told, ok := errors.AsType[*cron.Error](err); !ok || !strings.HasPrefix(told.Error(), want) {
			t.Errorf("%.40q: got %v, want %s", expression, err, want)
		}
	}
}

func TestZonesAreThoseOfTheDatabase(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "UTC", "Europe/Paris", "America/Argentina/Buenos_Aires", "Etc/GMT+5", "Asia/Kolkata"} {
		if _, err := cron.LoadZone(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"Local", "local", "localtime", "Europe/Atlantis", "CEST+2", "../etc/passwd", "/etc/localtime", "posix/UTC", "right/UTC", "posixrules", "Europe/Paris\x00", strings.Repeat("x", 60)} {
		if _, err := cron.LoadZone(name); err == nil || err.Error() != "timezone: must be a name of the tz database, such as Europe/Paris" {
			t.Errorf("%q: got %v", name, err)
		}
	}
}

// occurrences are the occurrences in a stretch of time, as the clock shows them.
func occurrences(s cron.Schedule, zone *time.Location, from, to string) []string {
	at, _ := time.ParseInLocation(time.DateTime, from, zone)
	end, _ := time.ParseInLocation(time.DateTime, to, zone)
	var list []string
	for at = s.Next(at.Add(-time.Second), zone); at.Before(end); at = s.Next(at, zone) {
		list = append(list, at.Format("01-02 15:04 -0700"))
	}
	return list
}

func TestNightsWhenTheClockChanges(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		schedule, zone, from, to string
		want                     []string
	}{
		"daily at 02:30, in spring: left out": {
			"30 2 * * *", "Europe/Paris", "2027-03-27 12:00:00", "2027-03-30 00:00:00", []string{"03-29 02:30 +0200"},
		},
		"daily at 02:30, in autumn: once": {
			"30 2 * * *", "Europe/Paris", "2027-10-30 12:00:00", "2027-11-01 12:00:00",
			[]string{"10-31 02:30 +0200", "11-01 02:30 +0100"},
		},
		"every hour, in spring": {
			"0 * * * *", "Europe/Paris", "2027-03-28 00:30:00", "2027-03-28 05:00:00",
			[]string{"03-28 01:00 +0100", "03-28 03:00 +0200", "03-28 04:00 +0200"},
		},
		"every hour, in autumn: on": {
			"0 * * * *", "Europe/Paris", "2027-10-31 01:30:00", "2027-10-31 03:30:00",
			[]string{"10-31 02:00 +0200", "10-31 02:00 +0100", "10-31 03:00 +0100"},
		},
		"every hour of Sundays, in autumn: once": {
			"0 * * * 0", "Europe/Paris", "2027-10-31 01:30:00", "2027-10-31 03:30:00",
			[]string{"10-31 02:00 +0200", "10-31 03:00 +0100"},
		},
		"half an hour back": {
			"45 * * * *", "Australia/Lord_Howe", "2027-04-04 00:00:00", "2027-04-04 03:00:00",
			[]string{"04-04 00:45 +1100", "04-04 01:45 +1100", "04-04 02:45 +1030"},
		},
		"a day that begins at one": {
			"0 0 * * *", "Africa/Cairo", "2027-04-29 12:00:00", "2027-05-01 12:00:00", []string{"05-01 00:00 +0300"},
		},
		"a day left out": {
			"0 12 * * *", "Pacific/Apia", "2011-12-29 00:00:00", "2012-01-01 00:00:00",
			[]string{"12-29 12:00 -1000", "12-31 12:00 +1400"},
		},
	} {
		if got := occurrences(parse(t, test.schedule), load(t, test.zone), test.from, test.to); !slices.Equal(got, test.want) {
			t.Errorf("%s: got %v, want %v", name, got, test.want)
		}
	}
}

func TestRareDaysAreFound(t *testing.T) {
	t.Parallel()
	from := time.Date(2096, 3, 1, 0, 0, 0, 0, time.UTC)
	if got := parse(t, "0 0 29 2 *").Next(from, time.UTC); got.Format(time.DateOnly) != "2104-02-29" {
		t.Errorf("got %v after the leap day that 2100 does not have", got)
	}
	if got := parse(t, "59 23 31 12 *").Next(from, time.UTC); got.Format(time.DateTime) != "2096-12-31 23:59:00" {
		t.Errorf("got %v", got)
	}
}

func TestTranslationIsReadable(t *testing.T) {
	t.Parallel()
	for schedule, want := range map[string]string{
		"* * * * *":       "cron(* * * * ? *) UTC",
		"*/20 * * * *":    "cron(0,20,40 * * * ? *) UTC",
		"0 9-17 * * 1-5":  "cron(0 9-17 ? * 2-6 *) Europe/Paris",
		"0 0 * * 0":       "cron(0 0 ? * 1 *) Europe/Paris",
		"0 0 * * FRI-SUN": "cron(0 0 ? * 1,6,7 *) Europe/Paris",
		"5 4 1 * *":       "cron(5 4 1 * ? *) Europe/Paris",
		"0 0 1 * 1":       "cron(0 0 1 * ? *) Europe/Paris, cron(0 0 ? * 2 *) Europe/Paris",
		"0 0 30 2 1":      "cron(0 0 ? 2 2 *) Europe/Paris",
		"0 0 */2 * *":     "cron(0 0 1,3,5,7,9,11,13,15,17,19,21,23,25,27,29,31 * ? *) Europe/Paris",
	} {
		var got []string
		for _, e := range parse(t, schedule).Expressions(load(t, "Europe/Paris")) {
			got = append(got, e.Cron+" "+e.Timezone)
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("%q: got %v, want %s", schedule, got, want)
		}
	}
	if got := parse(t, "@hourly").Expressions(load(t, "Asia/Kolkata"))[0].Timezone; got != "Asia/Kolkata" {
		t.Errorf("an hour of Kolkata, which is not one of UTC, is read in %s", got)
	}
}

// FuzzParse checks that any text is a schedule that occurs, or an error of a
// known field.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"* * * * *", "*/7 1-5,8 1 JAN sun", "@daily", "0 0 30 2 1", "5/15 0 31 2-4 FRI-SUN", "? L 15W * 1#2", "1,,2 5-1 */0 +1 -1"} {
		f.Add(seed)
	}
	known := []string{"minute", "hour", "day of month", "month", "day of week", "schedule"}
	zone := load(f, "Africa/Cairo")
	now := time.Date(2026, 11, 23, 10, 0, 30, 0, time.UTC)
	f.Fuzz(func(t *testing.T, expression string) {
		s, err := cron.Parse(expression)
		if err != nil {
			told, ok := errors.AsType[*cron.Error](err)
			if !ok || !slices.Contains(known, told.Field) || told.Problem == "" {
				t.Fatalf("got %v", err)
			}
			return
		}
		next := s.Next(now, zone)
		if !next.After(now) || !s.Matches(next, zone) {
			t.Fatalf("%q occurs at %v, and matches: %t", expression, next, s.Matches(next, zone))
		}
		for _, e := range s.Expressions(zone) {
			if len(e.Cron) > 256 {
				t.Fatalf("%q has more than Scheduler's 256 characters", e.Cron)
			}
		}
	})
}

func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		parse(b, "*/7 9-17 1,15 JAN-JUN MON-FRI")
	}
}

func BenchmarkNext(b *testing.B) {
	zone := load(b, "Europe/Paris")
	for name, expression := range map[string]string{"dense": "* 9-17 * * *", "sparse": "0 0 29 2 *"} {
		b.Run(name, func(b *testing.B) {
			s, at := parse(b, expression), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			b.ReportAllocs()
			for b.Loop() {
				s.Next(at, zone)
			}
		})
	}
}
