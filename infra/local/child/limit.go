package child

import (
	"os/exec"
	"strconv"
)

// LimitFiles makes cmd run with at most that many open files, as its soft and its hard
// limit. A shell sets them and then becomes the program: a Go program raises its soft
// limit to the hard one when it starts, which may be before a limit that is set later.
func LimitFiles(cmd *exec.Cmd, most int) {
	const script = `ulimit -n "$0" && unset PWD OLDPWD SHLVL && exec "$@"`
	cmd.Args = append([]string{"sh", "-c", script, strconv.Itoa(most), cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/bin/sh"
}
