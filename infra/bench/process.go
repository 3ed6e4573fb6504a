package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// processOf returns the ID of the process that runs a binary. If there are several, it returns
// the one that has used the most CPU time: a shard of the relay may have been started twice, and
// the second run ends at once.
func processOf(path string) (pid int, err error) {
	path, err = filepath.Abs(path)
	if err != nil {
		return 0, err
	}
	links, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		return 0, err
	}
	most := time.Duration(-1)
	for _, link := range links {
		if binary, err := os.Readlink(link); err != nil || binary != path {
			continue
		}
		id, err := strconv.Atoi(strings.Split(link, "/")[2])
		if err != nil {
			return 0, err
		}
		if used, err := cpuOf(id); err == nil && used > most { // otherwise it has ended
			pid, most = id, used
		}
	}
	if most < 0 {
		return 0, fmt.Errorf("no process runs %s", path)
	}
	return pid, nil
}

// cpuOf returns the CPU time that a process has used, by its CPU clock. That is exact: stat in
// proc(5) has hundredths of a second. The clock's ID is the one of clock_getcpuclockid(3).
func cpuOf(pid int) (time.Duration, error) {
	const scheduled = 2 // user and system time, in nanoseconds
	var used unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|scheduled), &used); err != nil {
		return 0, fmt.Errorf("reading the CPU time of the process %d: %w", pid, err)
	}
	return time.Duration(used.Nano()), nil
}

// peakOf returns the largest resident memory that a process has had, in bytes.
func peakOf(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	kilobytes, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	return kilobytes << 10, err
}
