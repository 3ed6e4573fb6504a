//go:build !linux

package child

import "syscall"

// attributes returns nil. Only Linux can end a child with its parent. On other systems the
// parent must close its children.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
