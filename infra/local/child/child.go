// Package child starts processes that do not outlive this one.
package child

import (
	"os"
	"os/exec"
	"syscall"
	"time"
)

// patience is how long a process may take to end when it is asked to.
const patience = 2 * time.Second

// Prepare makes cmd end with this process, however that ends, and keeps the
// terminal's Ctrl-C from it: whoever started it stops it.
func Prepare(cmd *exec.Cmd) {
	cmd.SysProcAttr = attributes()
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = patience
}

// Kill ends a process at once.
func Kill(process *os.Process) {
	_ = process.Kill() // it may have ended already
}
