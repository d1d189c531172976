package lease_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"lapse/lease"
)

// call is one RunInstances request on its way to EC2, or its answer on the way back.
type call struct {
	attempt  lease.Attempt
	arrived  bool
	ids      []string
	refused  bool
	throttle bool // EC2 will turn it away
}

// ec2 creates at most once for a client token, and as many as there is room for.
type ec2 struct {
	room map[string]int // by subnet and type
	made map[string][]string
	next int
}

// run answers a call. Each arrives once: only launchers repeat, and they write it down first.
func (e *ec2) run(c *call) {
	if c.arrived {
		return
	}
	c.arrived = true
	if c.throttle {
		return
	}
	if ids, known := e.made[c.attempt.ClientToken]; known {
		c.ids = ids
		return
	}
	location := c.attempt.Subnet + "/" + c.attempt.InstanceType
	if e.room[location] < c.attempt.Min {
		c.refused = true
		return
	}
	for range min(e.room[location], c.attempt.Max) {
		e.next++
		c.ids = append(c.ids, fmt.Sprintf("i-%d", e.next))
	}
	e.room[location] -= len(c.ids)
	e.made[c.attempt.ClientToken] = c.ids
}

// world is one launch, run by launchers that crash, resume, race and lose answers. Calls may arrive long after they
// were given up, and answers are noted late, or by somebody who read the record again, or never.
type world struct {
	launch lease.Launch
	ec2    ec2
	calls  []*call
	now    time.Time
}

func (w *world) made() (n int) {
	for _, ids := range w.ec2.made {
		n += len(ids)
	}
	return n
}

func (w *world) send(t *rapid.T) {
	l, err := w.launch.Sending(w.now)
	if err != nil {
		return
	}
	w.launch = l
	if rapid.IntRange(0, 3).Draw(t, "crash before the call") > 0 {
		w.calls = append(w.calls, &call{attempt: l.Last(), throttle: rapid.IntRange(0, 3).Draw(t, "throttle") == 0})
	}
}

// arrive lets EC2 see one of the calls on their way.
func (w *world) arrive(t *rapid.T) {
	if len(w.calls) > 0 {
		w.ec2.run(w.calls[rapid.IntRange(0, len(w.calls)-1).Draw(t, "call")])
	}
}

// note takes one call off the wire and writes what its sender learnt, by compare and swap on the newest record.
func (w *world) note(t *rapid.T) {
	if len(w.calls) == 0 {
		return
	}
	i := rapid.IntRange(0, len(w.calls)-1).Draw(t, "call")
	c := w.calls[i]
	if c.attempt.ClientToken != w.launch.Last().ClientToken {
		return
	}
	if lost := !c.arrived || rapid.IntRange(0, 3).Draw(t, "lost") == 0; lost {
		w.launch = w.launch.Doubt() // and the call stays on the wire
		return
	}
	w.calls = slices.Delete(w.calls, i, i+1)
	switch {
	case c.throttle:
		w.launch = w.launch.Unsent()
	case c.refused:
		w.launch = w.launch.Refused(capacity)
	default:
		w.launch = w.launch.Launched(c.ids)
	}
}

func (w *world) follow(t *rapid.T) {
	before := w.launch
	after, ok := w.launch.Next()
	if !ok {
		if !same(after, before) {
			t.Fatalf("no next attempt, and yet %s", text(t, after))
		}
		return
	}
	last := after.Last()
	switch {
	case len(before.Attempts) == 0 && (last.Min != before.Count || last.Max != before.Count):
		t.Fatalf("attempt 1 is %+v of %d", last, before.Count)
	case len(before.Attempts) > 0 && (last.Min != 1 || last.Max != before.Missing()):
		t.Fatalf("an attempt for the missing %d is %+v", before.Missing(), last)
	case len(before.Attempts) > 0 && before.Last().Outcome == "":
		t.Fatalf("an attempt follows one without an outcome: %+v", before.Last())
	case last.ClientToken != lease.ClientToken(token, len(after.Attempts)):
		t.Fatalf("attempt %d has client token %s", len(after.Attempts), last.ClientToken)
	}
	w.launch = after
}

func (w *world) check(t *rapid.T) {
	if made := w.made(); made > w.launch.Count {
		t.Fatalf("%d instances for a launch of %d: %s", made, w.launch.Count, text(t, w.launch))
	}
	for _, a := range w.launch.Attempts {
		made := w.ec2.made[a.ClientToken]
		switch a.Outcome {
		case lease.OutcomeLaunched:
			if !slices.Equal(a.Instances, made) {
				t.Fatalf("recorded %v, made %v", a.Instances, made)
			}
		case lease.OutcomeRefused:
			if len(made) > 0 {
				t.Fatalf("attempt %s is recorded as refused, and made %v", a.ClientToken, made)
			}
		}
	}
	if recorded := len(w.launch.Instances()) + w.launch.Missing(); recorded != w.launch.Count {
		t.Fatalf("%d recorded or missing of %d", recorded, w.launch.Count)
	}
}

func drawWorld(t *rapid.T) *world {
	l := opened()
	l.Attempts = nil
	l.Count = rapid.IntRange(1, 5).Draw(t, "count")
	l.Subnets = rapid.SampledFrom([][]string{nil, {"s1"}, {"s1", "s2"}}).Draw(t, "subnets")
	l.InstanceTypes = rapid.SampledFrom([][]string{nil, {"t1", "t2"}}).Draw(t, "types")
	w := &world{launch: l, ec2: ec2{room: map[string]int{}, made: map[string][]string{}}, now: noon}
	for _, subnet := range []string{"", "s1", "s2"} {
		for _, instanceType := range []string{"", "t1", "t2"} {
			w.ec2.room[subnet+"/"+instanceType] = rapid.IntRange(0, 6).Draw(t, "room")
		}
	}
	return w
}

func TestALaunchOfNLaunchesAtMostNWhateverIsLost(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		w.follow(t)
		t.Repeat(map[string]func(*rapid.T){
			"send":   w.send,
			"arrive": w.arrive,
			"note":   w.note,
			"follow": w.follow,
			"wait": func(t *rapid.T) {
				w.now = w.now.Add(time.Duration(rapid.IntRange(0, 600).Draw(t, "seconds")) * time.Second)
			},
			"more room": func(t *rapid.T) {
				location := rapid.SampledFrom([]string{"/", "s1/", "s2/", "s1/t1", "s2/t2"}).Draw(t, "location")
				w.ec2.room[location] += rapid.IntRange(0, 3).Draw(t, "room")
			},
			"": w.check,
		})
		for _, c := range w.calls {
			w.ec2.run(c)
		}
		w.check(t)
	})
}

func TestALauncherWithEveryAnswerLaunchesAllOrExhaustsItsChoices(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		locations := max(1, len(w.launch.Subnets)) * max(1, len(w.launch.InstanceTypes))
		for more := true; more; {
			if w.launch, more = w.launch.Next(); !more {
				break
			}
			w.launch = must(w.launch.Sending(w.now))
			c := &call{attempt: w.launch.Last()}
			if w.ec2.run(c); c.refused {
				w.launch = w.launch.Refused(capacity)
			} else {
				w.launch = w.launch.Launched(c.ids)
			}
			w.check(t)
			if len(w.launch.Attempts) > 1+locations+w.launch.Count {
				t.Fatalf("still trying after %d attempts", len(w.launch.Attempts))
			}
		}
		room := 0
		for _, subnet := range orNone(w.launch.Subnets) {
			for _, instanceType := range orNone(w.launch.InstanceTypes) {
				room += w.ec2.room[subnet+"/"+instanceType]
			}
		}
		if w.launch.Missing() > 0 && room > 0 {
			t.Fatalf("gave up with %d missing and room for %d: %s", w.launch.Missing(), room, text(t, w.launch))
		}
	})
}

func orNone(list []string) []string {
	if len(list) == 0 {
		return []string{""}
	}
	return list
}

func TestAStepOfALaunchDoesNotAlterTheOldRecord(t *testing.T) {
	t.Parallel()
	steps := map[string]func(lease.Launch) lease.Launch{
		"Sending":  func(l lease.Launch) lease.Launch { l, _ = l.Sending(at(time.Minute)); return l },
		"Launched": func(l lease.Launch) lease.Launch { return l.Launched([]string{"i-8", "i-9"}) },
		"Refused":  func(l lease.Launch) lease.Launch { return l.Refused(capacity) },
		"Unsent":   lease.Launch.Unsent,
		"Doubt":    lease.Launch.Doubt,
		"Next":     func(l lease.Launch) lease.Launch { l, _ = l.Next(); return l },
		"Done":     func(l lease.Launch) lease.Launch { l, _ = l.Done(at(time.Minute)); return l },
		"Close":    func(l lease.Launch) lease.Launch { l, _ = l.Close(at(time.Minute), "released"); return l },
		"Looked":   func(l lease.Launch) lease.Launch { l, _ = l.NoteFirstSeen(at(time.Minute), "i-1", "i-2"); return l },
	}
	names := []string{"Sending", "Launched", "Refused", "Unsent", "Doubt", "Next", "Done", "Close", "Looked"}
	rapid.Check(t, func(t *rapid.T) {
		l := opened()
		l.Attempts = append(make([]lease.Attempt, 0, 8), l.Attempts...)
		type version struct {
			l    lease.Launch
			text string
		}
		var older []version
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			older = append(older, version{l, text(t, l)})
			name := rapid.SampledFrom(names).Draw(t, "step")
			from := older[rapid.IntRange(0, len(older)-1).Draw(t, "from")].l
			l = steps[name](from)
			for _, o := range older {
				if text(t, o.l) != o.text {
					t.Fatalf("%s altered %s\nto %s", name, o.text, text(t, o.l))
				}
			}
		}
	})
	refused := sent().Refused(capacity)
	refused.Attempts = append(make([]lease.Attempt, 0, 8), refused.Attempts...)
	next(t, refused)
	if behind := refused.Attempts[:2][1]; behind.ClientToken != "" {
		t.Errorf("Next wrote %+v behind the old record's attempts", behind)
	}
	ids := []string{"i-1"}
	l := sent().Launched(ids)
	if ids[0] = "scrambled"; l.Instances()[0] != "i-1" {
		t.Error("an answer is shared with the caller")
	}
}
