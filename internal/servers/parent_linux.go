package servers

import "syscall"

// endWithParent lets the process end with its parent, also if the parent is killed.
func endWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGQUIT }
