//go:build !linux

package child

import "os"

// TellsMemory reports whether this system tells how much memory a process has used.
const TellsMemory = false

// PeakMemory returns 0, because only Linux tells how much memory a process has used.
func PeakMemory(*os.Process) int { return 0 }
