// Package child starts processes that do not outlive this one.
package child

import (
	"os"
	"os/exec"
	"syscall"
	"time"
)

// patience is the time that a process may take to end after it is asked to.
const patience = 2 * time.Second

// Prepare makes cmd end with this process, even if this process is killed. It also keeps
// the terminal's Ctrl-C from cmd, because its parent stops it.
func Prepare(cmd *exec.Cmd) {
	cmd.SysProcAttr = attributes()
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = patience
}

// Kill ends a process at once.
func Kill(process *os.Process) {
	_ = process.Kill() // it may have ended already
}
