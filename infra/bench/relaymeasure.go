package main

import (
	"fmt"
	"time"
)

// figures are the figures of one program.
type figures struct {
	rate       float64 // messages a second
	cpu        time.Duration
	p50, p99   time.Duration
	peakMemory int64 // bytes
}

// middle returns the median of each figure, and the largest memory.
func middle(all []figures) (m figures) {
	var rates []float64
	var cpus, p50s, p99s []time.Duration
	for _, f := range all {
		rates, cpus = append(rates, f.rate), append(cpus, f.cpu)
		p50s, p99s = append(p50s, f.p50), append(p99s, f.p99)
		m.peakMemory = max(m.peakMemory, f.peakMemory)
	}
	m.rate, m.cpu, m.p50, m.p99 = median(rates), median(cpus), median(p50s), median(p99s)
	return m
}

// measure returns the figures of a program that has subscribed.
func (b bench) measure(p program) (f figures, err error) {
	if err := b.publish(p.source, b.messages/20, 0); err != nil { // to warm up
		return f, err
	}
	cpu, err := cpuOf(p.pid)
	if err != nil {
		return f, err
	}
	began := time.Now()
	if err := b.publish(p.source, b.messages, 0); err != nil {
		return f, err
	}
	f.rate = float64(b.messages) / time.Since(began).Seconds()
	after, err := cpuOf(p.pid)
	if err != nil {
		return f, err
	}
	f.cpu = (after - cpu) / time.Duration(b.messages)
	if b.inFlight > 1 { // one at a time cannot follow
		if err := b.publish(p.source, int(fixedRate*b.fixedTime.Seconds()), fixedRate); err != nil {
			return f, err
		}
		f.p50, f.p99 = b.container.latencies()
	}
	f.peakMemory, err = peakOf(p.pid)
	return f, err
}

// publish sends messages at a rate, or as fast as the container accepts them if the
// rate is 0. It returns when the container has accepted all.
func (b bench) publish(to source, count, rate int) error {
	b.container.reset()
	payload := newPayload()
	began := time.Now()
	for i := range count {
		if rate > 0 {
			if due := began.Add(time.Duration(i) * time.Second / time.Duration(rate)); time.Until(due) > 0 {
				if err := to.flush(); err != nil {
					return err
				}
				time.Sleep(time.Until(due)) //nolint:forbidigo // keeps the rate
			}
		} else {
			for int64(i)-b.container.taken.Load() > window {
				time.Sleep(time.Millisecond) //nolint:forbidigo // keeps the window
			}
		}
		stamp(payload)
		if err := to.send(payload); err != nil {
			return err
		}
	}
	if err := to.flush(); err != nil {
		return err
	}
	for last, since := int64(-1), time.Now(); b.container.taken.Load() < int64(count); time.Sleep(time.Millisecond) { //nolint:forbidigo // polls with a deadline
		if taken := b.container.taken.Load(); taken != last {
			last, since = taken, time.Now()
		} else if time.Since(since) > 20*time.Second {
			return fmt.Errorf("%d of %d messages arrived", taken, count)
		}
	}
	return nil
}
