package janitor

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"lapse/janitor/audit"
	"lapse/janitor/observe"
	"lapse/lease/owndir"
)

// TestFilesInTheDirectoriesOfOthersAreRefused: what a janitor remembers and what it logs is relied on, and root must not
// write where somebody else's link leads.
func TestFilesInTheDirectoriesOfOthersAreRefused(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root can give directories to others")
	}
	const unwatched = 65534
	for name, c := range map[string]struct {
		uid  int
		mode fs.FileMode
	}{
		"somebody else's": {unwatched, 0o755},
		"everybody's":     {0, 0o777},
		"sticky":          {0, 0o777 | fs.ModeSticky},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := errors.Join(os.Chown(dir, c.uid, c.uid), os.Chmod(dir, c.mode)); err != nil {
				t.Fatal(err)
			}
			var unsafe *owndir.Error
			if _, err := observe.OpenWatermark(dir, quiet()); !errors.As(err, &unsafe) {
				t.Errorf("state directory: %v", err)
			}
			if _, err := audit.Open(filepath.Join(dir, "audit.log")); !errors.As(err, &unsafe) {
				t.Errorf("audit log: %v", err)
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("left %v, %v", left, err)
			}
		})
	}
}

func TestTheAuditLogMayBeAPipeOfTheProcess(t *testing.T) {
	t.Parallel()
	log, err := audit.Open("/dev/stderr")
	if err != nil {
		t.Fatal(err)
	}
	_ = log.Close()
}
