package main

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
)

// ten is a batch of ten messages.
func (b *testBundle) ten() events.SQSEvent {
	return b.batch(1, "0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
}

// BenchmarkMessage is the cost of one message of a batch of ten, with a container
// that answers at once, against ten requests of net/http at the same time.
func BenchmarkMessage(b *testing.B) {
	bundle := setup(b)
	batch := bundle.ten()
	measure := func(name string, work func(b *testing.B)) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				work(b)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(batch.Records)), "ns/message")
		})
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}}
	measure("floor", func(b *testing.B) {
		var calls sync.WaitGroup
		for _, record := range batch.Records {
			calls.Go(func() {
				response, err := client.Post(bundle.to.PublicEndpoint, "application/json", strings.NewReader(record.Body))
				if err != nil {
					b.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, response.Body)
				response.Body.Close()
			})
		}
		calls.Wait()
	})
	measure("dispatch-queue", func(b *testing.B) {
		if failed := bundle.deliver(batch); len(failed) > 0 {
			b.Fatal(failed)
		}
	})
}

// BenchmarkBatchOfSlowCalls is the time of a batch of ten on a container that
// takes 50 ms.
func BenchmarkBatchOfSlowCalls(b *testing.B) {
	bundle := setup(b)
	bundle.answer = func(http.ResponseWriter, *http.Request) { time.Sleep(50 * time.Millisecond) } //nolint:forbidigo // the work of the container
	for b.Loop() {
		bundle.deliver(bundle.ten())
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/1000/float64(b.N), "ms/batch")
}
