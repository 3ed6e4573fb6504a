package cron_test

import (
	"fmt"
	"time"

	"containertriggers/shared/domain/cron"
)

// A schedule that restricts both day fields occurs on the days of either. It needs two
// expressions on AWS.
func Example() {
	schedule, err := cron.Parse("0 0 1 * MON")
	if err != nil {
		fmt.Println(err)
		return
	}
	zone, err := cron.LoadZone("Europe/Paris")
	if err != nil {
		fmt.Println(err)
		return
	}
	at := time.Date(2027, 1, 28, 0, 0, 0, 0, zone)
	for range 3 {
		at = schedule.Next(at, zone)
		fmt.Println(at.Format("Mon 2 January 15:04"))
	}
	for _, expression := range schedule.Expressions(zone) {
		fmt.Println(expression.Cron, expression.Timezone)
	}
	// Output:
	// Mon 1 February 00:00
	// Mon 8 February 00:00
	// Mon 15 February 00:00
	// cron(0 0 1 * ? *) Europe/Paris
	// cron(0 0 ? * 2 *) Europe/Paris
}

func ExampleParse_error() {
	_, err := cron.Parse("0 25 * * *")
	fmt.Println(err)
	// Output: hour: must be from 0 to 23, not 25
}
