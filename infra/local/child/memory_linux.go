package child

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// TellsMemory reports whether this system tells how much memory a process has used.
const TellsMemory = true

// PeakMemory returns the most bytes that a process has had in RAM at any time since it
// started. It returns 0 if the process has ended.
func PeakMemory(process *os.Process) int {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", process.Pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "\nVmHWM:")
	number, _, _ := strings.Cut(strings.TrimSpace(rest), " kB")
	kilobytes, _ := strconv.Atoi(number) // a process that is being removed has no such line
	return kilobytes << 10
}
