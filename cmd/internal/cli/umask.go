package cli

import "syscall"

// NarrowUmask keeps everybody but the owner from writing to what this process makes, until that has the mode that it shall
// have: etcd makes its socket with the umask alone, and whoever can write to a socket can connect.
func NarrowUmask() {
	const others = 0o022
	syscall.Umask(syscall.Umask(0o077) | others)
}
