//go:build !linux

package child

import "syscall"

// Only Linux can tie a child's life to its parent's; elsewhere children end when
// the parent closes them.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
