package cron_test

import (
	"archive/zip"
	"errors"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"containertriggers/shared/domain/cron"
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

func TestParse_MakesNotationsOfOneScheduleEqual(t *testing.T) {
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
		"0 0 1-31 * 1":            "0 0 * * *",
		"0 0 1 * 0-7":             "0 0 * * *",
		"0 0 */1 * 1":             "0 0 * * 1",
		"0 0 *,5 * 1":             "0 0 * * 1",
		"0 0 1 * */1":             "0 0 1 * *",
		"0 0 */2,3 * 1":           "0 0 */2 * 1",
		"0 0 30 2 1":              "0 0 * 2 1",
		"0 * 1-31 * 1":            "@hourly",
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

func TestParse_NamesTheFieldAndTheProblem(t *testing.T) {
	t.Parallel()
	for expression, want := range map[string]string{
		"":                          "schedule: must have five fields (minute, hour, day of month, month, day of week), not 0",
		"* * * *":                   "schedule: must have five fields (minute, hour, day of month, month, day of week), not 4",
		"0 * * * * *":               "schedule: must have five fields (minute, hour, day of month, month, day of week), not 6",
		"@reboot":                   "schedule: @reboot is not supported, because no machine boots; use a time such as @daily",
		"@fortnightly":              "schedule: must be one of @yearly, @annually, @monthly, @weekly, @daily, @midnight and @hourly, not \"@fortnightly\"",
		"@daily @daily":             "schedule: must have five fields",
		"60 * * * *":                "minute: must be from 0 to 59, not 60",
		"* 24 * * *":                "hour: must be from 0 to 23, not 24",
		"* * 0 * *":                 "day of month: must be from 1 to 31, not 0",
		"* * 32 * *":                "day of month: must be from 1 to 31, not 32",
		"* * * 13 *":                "month: must be from 1 to 12, not 13",
		"* * * 0 *":                 "month: must be from 1 to 12, not 0",
		"* * * * 8":                 "day of week: must be from 0 to 7, not 8",
		"1,,2 * * * *":              `minute: "1,,2" has an empty list element`,
		", * * * *":                 `minute: "," has an empty list element`,
		"5-1 * * * *":               `minute: the range "5-1" is reversed`,
		"* * * * SAT-MON":           `day of week: the range "SAT-MON" is reversed`,
		"* * * * 6-0":               `day of week: the range "6-0" is reversed`,
		"*/0 * * * *":               `minute: "*/0" has the step "0", but a step must be a number of at least 1`,
		"*/ * * * *":                `minute: "*/" has the step ""`,
		"*/-1 * * * *":              `minute: "*/-1" has the step "-1"`,
		"1/2/3 * * * *":             `minute: "1/2/3" has the step "2/3"`,
		"-1 * * * *":                `minute: must be a number, not ""`,
		"+1 * * * *":                `minute: must be a number, not "+1"`,
		"1- * * * *":                `minute: must be a number, not ""`,
		"1-2-3 * * * *":             `minute: must be a number, not "2-3"`,
		"x * * * *":                 `minute: must be a number, not "x"`,
		"**  * * * *":               `minute: must be a number, not "**"`,
		"99999999999999999 * * * *": `minute: must be a number, not "99999999999999999"`,
		"* * * MONDAY *":            `month: must be a number or a name such as FEB, not "MONDAY"`,
		"* * * * JAN":               `day of week: must be a number or a name such as MON, not "JAN"`,
		"0 0 ? * 1":                 `day of month: "?" is Quartz notation; use UNIX cron, such as * or 1-5`,
		"0 0 L * *":                 `day of month: "L" is Quartz notation; use UNIX cron, such as * or 1-5`,
		"0 0 15W * *":               `day of month: "15W" is Quartz notation; use UNIX cron, such as * or 1-5`,
		"0 0 * * 1#2":               `day of week: "1#2" is Quartz notation; use UNIX cron, such as * or 1-5`,
		"0 0 30 2 *":                `day of month: "30" never comes in the months of "2"`,
		"0 0 31 2,4,6,9,11 *":       `day of month: "31" never comes in the months of "2,4,6,9,11"`,
		"0 0 30 2 */2":              `day of month: "30" never comes in the months of "2"`,
		"* * * *\n*":                "schedule: must have five fields",
		"* * * * *\n":               `day of week: must be a number or a name such as MON, not "*\n"`,
		"\x00 * * * *":              `minute: must be a number, not "\x00"`,
		strings.Repeat("*", 1025):   "schedule: must have at most 1024 bytes",
	} {
		_, err := cron.Parse(expression)
		if told, ok := errors.AsType[*cron.Error](err); !ok || !strings.HasPrefix(told.Error(), want) {
			t.Errorf("%.40q: got %v, want %s", expression, err, want)
		}
	}
}

func TestLoadZone_TakesTheNamesOfTheDatabaseOnly(t *testing.T) {
	t.Parallel()
	refused := []string{"Local", "local", "localtime", "Europe/Atlantis", "CEST+2", "../etc/passwd", "/etc/localtime", "posix/UTC", "right/UTC", "posixrules",
		"Factory", "SystemV/EST5", "Europe/Paris\x00", strings.Repeat("x", 60), ".", "/", "Europe", "zone.tab", "tzdata.zi", "+VERSION"}
	names := databaseNames(t)
	if zone, err := cron.LoadZone(""); err != nil || zone != time.UTC {
		t.Errorf("got %v, %v for no name", zone, err)
	}
	for _, name := range names {
		if _, err := cron.LoadZone(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
		refused = append(refused, strings.ToLower(name), "./"+name, "/"+name, name+"/", name+"/.", "posix/"+name, "right/"+name, "Etc/../"+name, "Etc//"+name, " "+name, name+" ")
		if folder, city, found := strings.Cut(name, "/"); found {
			refused = append(refused, folder+"//"+city, folder+"/./"+city, folder+`\`+city)
		}
	}
	for _, name := range refused {
		if _, err := cron.LoadZone(name); err == nil || err.Error() != "timezone: must be a name of the tz database, such as Europe/Paris" {
			t.Errorf("%q: got %v", name, err)
		}
	}
	if len(names) < 500 {
		t.Errorf("the database has %d names", len(names))
	}
}

// databaseNames returns the names of the database that comes with Go, but for the
// placeholder Factory.
func databaseNames(t *testing.T) []string {
	t.Helper()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	archive, err := zip.OpenReader(filepath.Join(strings.TrimSpace(string(root)), "lib", "time", "zoneinfo.zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = archive.Close() }()
	var names []string
	for _, file := range archive.File {
		if file.Name != "Factory" && !strings.HasSuffix(file.Name, "/") {
			names = append(names, file.Name)
		}
	}
	return names
}

// occurrences returns the occurrences in a period, in local time.
func occurrences(s cron.Schedule, zone *time.Location, from, to string) []string {
	at, _ := time.ParseInLocation(time.DateTime, from, zone)
	end, _ := time.ParseInLocation(time.DateTime, to, zone)
	var list []string
	for at = s.Next(at.Add(-time.Second), zone); at.Before(end); at = s.Next(at, zone) {
		list = append(list, at.Format("01-02 15:04 -0700"))
	}
	return list
}

func TestNext_OccursOnceInNightsWhenTheClockChanges(t *testing.T) {
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

func TestNext_FindsRareDays(t *testing.T) {
	t.Parallel()
	from := time.Date(2096, 3, 1, 0, 0, 0, 0, time.UTC)
	if got := parse(t, "0 0 29 2 *").Next(from, time.UTC); got.Format(time.DateOnly) != "2104-02-29" {
		t.Errorf("got %v after the leap day that 2100 does not have", got)
	}
	if got := parse(t, "59 23 31 12 *").Next(from, time.UTC); got.Format(time.DateTime) != "2096-12-31 23:59:00" {
		t.Errorf("got %v", got)
	}
	from = time.Date(2088, 3, 1, 0, 0, 0, 0, time.UTC)
	if got := parse(t, "0 0 29 2 */7").Next(from, time.UTC); got.Format(time.DateOnly) != "2128-02-29" {
		t.Errorf("got %v as the next 29 February that is a Sunday", got)
	}
}

func TestSchedule_DaysFollowCrontab5(t *testing.T) {
	t.Parallel()
	for schedule, want := range map[string]string{ // in June 2026, which begins on a Monday
		"0 0 * * 1":          "1 8 15 22 29",
		"0 0 1-10 * *":       "1 2 3 4 5 6 7 8 9 10",
		"0 0 9 * 1":          "1 8 9 15 22 29",
		"0 0 9 * */3":        "", // a Tuesday, and neither Sunday, Wednesday nor Saturday
		"0 0 10 * */3":       "10",
		"0 0 */2 * 1":        "1 15 29",
		"0 0 */9 * */2":      "28", // of 1 10 19 28
		"0 0 1-31/9 * 1-5/2": "1 3 5 8 10 12 15 17 19 22 24 26 28 29",
		"0 0 *,1 * 3":        "3 10 17 24",
		"0 0 1 * *,3":        "1",
	} {
		got := ""
		s := parse(t, schedule)
		for day := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC); day.Month() == time.June; day = day.AddDate(0, 0, 1) {
			if s.Next(day.Add(-time.Second), time.UTC).Equal(day) {
				got += " " + strconv.Itoa(day.Day())
			}
		}
		if got = strings.TrimSpace(got); got != want {
			t.Errorf("%q: got %s, want %s", schedule, got, want)
		}
	}
}

func TestPasses_DecidesByTheLocalTimeThatSchedulerFiredAt(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		schedule, zone, fired string
		filter                cron.Filter
		want                  bool
	}{
		"an odd Monday":                              {"0 0 */2 * 1", "UTC", "2026-06-01T00:00:00Z", cron.FilterDayOfMonth, true},
		"an even Monday":                             {"0 0 */2 * 1", "UTC", "2026-06-08T00:00:00Z", cron.FilterDayOfMonth, false},
		"without a filter":                           {"0 0 */2 * 1", "UTC", "2026-06-08T00:00:00Z", cron.NoFilter, true},
		"odd in Seoul, even in UTC":                  {"0 0 */2 * 1", "Asia/Seoul", "2026-05-31T15:00:00Z", cron.FilterDayOfMonth, true},
		"even in Seoul, odd in UTC":                  {"0 0 */2 * 1", "Asia/Seoul", "2026-06-07T15:00:00Z", cron.FilterDayOfMonth, false},
		"the 10th, a Wednesday":                      {"0 0 10 * */3", "UTC", "2026-06-10T00:00:00Z", cron.FilterDayOfWeek, true},
		"the 10th, a Friday":                         {"0 0 10 * */3", "UTC", "2026-07-10T00:00:00Z", cron.FilterDayOfWeek, false},
		"Scheduler's clock is an hour ahead of ours": {"0 0 */2 * 1", "UTC", "2026-05-31T23:00:00Z", cron.FilterDayOfMonth, true},
		"an hour ahead, on an even day":              {"0 0 */2 * 1", "UTC", "2026-06-07T23:00:00Z", cron.FilterDayOfMonth, false},
		"an hour behind":                             {"30 23 */2 * 1", "UTC", "2026-06-02T00:30:00Z", cron.FilterDayOfMonth, true},
		"an hour behind, on an even day":             {"30 23 */2 * 1", "UTC", "2026-06-09T00:30:00Z", cron.FilterDayOfMonth, false},
		"half an hour behind":                        {"* * */2 * 1", "UTC", "2026-06-09T00:20:00Z", cron.FilterDayOfMonth, false},
		"on the other side of the date line":         {"0 12 */2 * 1", "UTC", "2026-06-02T12:00:00Z", cron.FilterDayOfMonth, true},
	} {
		fired, err := time.Parse(time.RFC3339, test.fired)
		if err != nil {
			t.Fatal(err)
		}
		if got := parse(t, test.schedule).Passes(test.filter, fired, load(t, test.zone)); got != test.want {
			t.Errorf("%s: got %t", name, got)
		}
	}
}

func TestExpressions_AreReadable(t *testing.T) {
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
		"0 0 */2 * 1":     "cron(0 0 ? * 2 *) Europe/Paris day_of_month",
		"0 0 1 * */2":     "cron(0 0 1 * ? *) Europe/Paris day_of_week",
		"0 0 1-31 * 1":    "cron(0 0 * * ? *) Europe/Paris",
	} {
		var got []string
		for _, e := range parse(t, schedule).Expressions(load(t, "Europe/Paris")) {
			got = append(got, strings.TrimSpace(e.Cron+" "+e.Timezone+" "+string(e.Filter)))
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
	for _, seed := range []string{"* * * * *", "*/7 1-5,8 1 JAN sun", "@daily", "0 0 30 2 1", "5/15 0 31 2-4 FRI-SUN", "0 0 */2 2 */7", "? L 15W * 1#2", "1,,2 5-1 */0 +1 -1"} {
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
		if !next.After(now) {
			t.Fatalf("%q occurs at %v", expression, next)
		}
		for _, e := range s.Expressions(zone) {
			if !s.Passes(e.Filter, next, zone) {
				t.Fatalf("%q occurs at %v, which does not pass %q", expression, next, e.Filter)
			}
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
