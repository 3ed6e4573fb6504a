package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"containertriggers/infra/local/child"
)

// cpusOf returns the CPUs of a Lambda function with so many MB. One with 1,769 MB has a whole
// one (Lambda Developer Guide, "Configure Lambda function memory").
func cpusOf(memoryMB int) float64 { return float64(memoryMB) / 1769 }

// quotaPeriod is the period in which a quota counts CPU time. It is the kernel's default.
const quotaPeriod = 100 * time.Millisecond

// quota is a way to limit the CPU time of a process.
type quota struct {
	name string
	// limit limits a child of this process to a number of CPUs, until lift is called.
	limit func(ctx context.Context, pid int, cpus float64) (lift func(), err error)
}

// findQuota returns the way to limit that works here. It tries them with a process that does
// nothing.
func findQuota(ctx context.Context) (found quota, ok bool) {
	for _, q := range []quota{{"cgroup v2", limitV2}, {"cgroup v1", limitV1}, {"cpulimit", limitByStops}} {
		if q.try(ctx) == nil {
			return q, true
		}
	}
	return quota{}, false
}

// try limits a process that waits for its input.
func (q quota) try(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "cat")
	child.Prepare(cmd)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	lift, err := q.limit(ctx, cmd.Process.Pid, 1)
	if err == nil {
		lift()
	}
	_ = stdin.Close()
	_ = cmd.Wait() // it has done its work
	return err
}

// limitV2 limits by a control group of version 2 (kernel, admin-guide/cgroup-v2, "CPU").
func limitV2(_ context.Context, pid int, cpus float64) (lift func(), err error) {
	own, mount, err := ownGroup("cgroup2", "")
	if err != nil {
		return nil, err
	}
	return limitByGroup(own, mount, pid, [][2]string{
		{"cpu.max", microseconds(time.Duration(cpus*float64(quotaPeriod))) + " " + microseconds(quotaPeriod)},
	})
}

// limitV1 limits by a control group of version 1 (kernel, scheduler/sched-bwc).
func limitV1(_ context.Context, pid int, cpus float64) (lift func(), err error) {
	own, mount, err := ownGroup("cgroup", "cpu")
	if err != nil {
		return nil, err
	}
	return limitByGroup(own, mount, pid, [][2]string{
		{"cpu.cfs_period_us", microseconds(quotaPeriod)},
		{"cpu.cfs_quota_us", microseconds(time.Duration(cpus * float64(quotaPeriod)))},
	})
}

func microseconds(d time.Duration) string { return strconv.FormatInt(d.Microseconds(), 10) }

// ownGroup returns the folder of this process's control group, and that of all groups. The
// controller is empty for version 2, which has one hierarchy for all controllers.
func ownGroup(fileSystem, controller string) (own, mount string, err error) {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return "", "", err
	}
	for line := range strings.Lines(string(mounts)) {
		fields := strings.Fields(line) // device, folder, type, options
		if fields[2] == fileSystem && (controller == "" || slices.Contains(strings.Split(fields[3], ","), controller)) {
			mount = fields[1]
		}
	}
	groups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", "", err
	}
	for line := range strings.Lines(string(groups)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3) // ID, controllers, path
		if mount != "" && slices.Contains(strings.Split(fields[1], ","), controller) {
			return filepath.Join(mount, fields[2]), mount, nil
		}
	}
	return "", "", fmt.Errorf("there are no groups of %s", fileSystem)
}

// limitByGroup moves a child of this process to a new group with the settings. If a group of
// this process's own cannot have them, it makes one beside that, and so on up to mount.
func limitByGroup(own, mount string, pid int, settings [][2]string) (lift func(), err error) {
	for parent := own; ; parent = filepath.Dir(parent) {
		if lift, err = limitIn(parent, own, pid, settings); err == nil || parent == mount {
			return lift, err
		}
	}
}

func limitIn(parent, own string, pid int, settings [][2]string) (lift func(), err error) {
	group := filepath.Join(parent, fmt.Sprintf("bench-%d", pid))
	if err := os.Mkdir(group, 0o755); err != nil {
		return nil, err
	}
	write := func(folder, name, text string) error {
		return os.WriteFile(filepath.Join(folder, name), []byte(text), 0)
	}
	lift = func() {
		_ = write(own, "cgroup.procs", strconv.Itoa(pid)) // it fails if the process has ended
		_ = os.Remove(group)                              // an empty group limits nothing
	}
	for _, setting := range append(settings, [2]string{"cgroup.procs", strconv.Itoa(pid)}) {
		if err := write(group, setting[0], setting[1]); err != nil {
			lift()
			return nil, err
		}
	}
	return lift, nil
}

// limitByStops limits by the program cpulimit, which stops and continues the process.
func limitByStops(ctx context.Context, pid int, cpus float64) (lift func(), err error) {
	cmd := exec.CommandContext(ctx, "cpulimit", "--pid", strconv.Itoa(pid), "--limit", strconv.Itoa(int(100*cpus)))
	child.Prepare(cmd)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return func() {
		_ = cmd.Process.Signal(os.Interrupt) // it then continues the process
		_ = cmd.Wait()                       // it has done its work
	}, nil
}
