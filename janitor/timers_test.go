package janitor

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestReactionsToChangesRestAsLongAsTheyTake(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ took, ago, due, want time.Duration }{
		"a change after a long rest":    {2 * time.Second, time.Minute, time.Hour, settleMin},
		"a change right after another":  {2 * time.Second, 0, time.Hour, 2 * time.Second},
		"a change while decisions rest": {2 * time.Second, 500 * time.Millisecond, time.Hour, 1500 * time.Millisecond},
		"quick decisions":               {time.Millisecond, 0, time.Hour, settleMin},
		"a date that comes first":       {2 * time.Second, 0, time.Second, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				now := time.Now()
				term := &timers{took: test.took, reacted: now.Add(-test.ago), due: now.Add(test.due), timer: time.NewTimer(test.due)}
				term.soon()
				<-term.timer.C
				if got := time.Since(now); got != test.want || !term.due.Equal(time.Now()) {
					t.Errorf("due after %s, want %s", got, test.want)
				}
			})
		})
	}
}
