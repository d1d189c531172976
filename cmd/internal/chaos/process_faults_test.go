//go:build chaos

package chaos

import (
	"time"

	"lapse/cmd/internal/wallclock"
)

// janitorFaults befall the janitor that leads, or the other one.
func (w *world) janitorFaults() []fault {
	of := func(family, name, on string, longest time.Duration, strike func(j *janitor, n int) func()) fault {
		return fault{family: family, name: name, on: "janitors", longest: longest, strike: func() func() {
			n := w.leading()
			if on == "other" {
				n = 1 - n
			}
			return strike(w.janitors[n], n)
		}}
	}
	kill := func(j *janitor, n int) func() {
		j.run.kill()
		return func() { w.startJanitor(n) }
	}
	stop := func(j *janitor, _ int) func() {
		p := j.run
		p.stop()
		return p.resume
	}
	return []fault{
		of("kill janitors", "kill the leading janitor", "leader", 4*time.Second, kill),
		of("kill janitors", "kill the other janitor", "other", 4*time.Second, kill),
		of("stop janitors", "stop the leading janitor", "leader", 2*electionTTL, stop),
		of("stop janitors", "stop the other janitor", "other", 8*time.Second, stop),
	}
}

// sidecarFaults befall some sidecars. Those that die for good are few, as long as their end is to be seen.
func (w *world) sidecarFaults() []fault {
	some := func(most int, do func(m *machine) func()) func() func() {
		return func() func() {
			var heals []func()
			for range 1 + w.random.IntN(most) {
				if m, ok := choose(w.random, w.fleet.renewing()); ok {
					heals = append(heals, do(m))
				}
			}
			if heals == nil {
				return nil
			}
			return func() {
				for _, heal := range heals {
					heal()
				}
			}
		}
	}
	return []fault{
		{family: "kill sidecars for good", name: "kill sidecars for good", on: "dead", longest: time.Second, strike: some(2, func(m *machine) func() { return w.fleet.kill(m, true) })},
		{family: "kill sidecars", name: "kill sidecars", on: "killed", longest: 2 * time.Second, strike: some(15, func(m *machine) func() { return w.fleet.kill(m, false) })},
		{family: "kill sidecars", name: "kill a sidecar for long", on: "killed", longest: 25 * time.Second, strike: some(1, func(m *machine) func() { return w.fleet.kill(m, false) })},
		{family: "stop sidecars", name: "stop sidecars", on: "stopped", longest: 25 * time.Second, strike: some(3, w.fleet.stop)},
		{family: "stop sidecars", name: "stop many sidecars", on: "stopped", longest: 18 * time.Second, strike: some(35, w.fleet.stop)},
	}
}

// clockFaults set the wall clocks of janitors and sidecars while these run, and set them right again.
func (w *world) clockFaults() []fault {
	const (
		hour = time.Hour
		year = 365 * 24 * hour
	)
	set := func(ahead time.Duration, clocks ...wallclock.Clock) func() {
		for _, c := range clocks {
			if err := c.Set(ahead); err != nil {
				w.t.Error(err)
			}
		}
		return func() {
			for _, c := range clocks {
				if err := c.Set(0); err != nil {
					w.t.Error(err)
				}
			}
		}
	}
	leader := func(ahead time.Duration) func() func() {
		return func() func() { return set(ahead, w.janitors[w.leading()].wall) }
	}
	both := func(ahead time.Duration) func() func() {
		return func() func() { return set(ahead, w.janitors[0].wall, w.janitors[1].wall) }
	}
	return []fault{
		{family: "janitors' clocks", name: "the leader's clock an hour ahead", on: "clocks", longest: 24 * time.Second, strike: leader(hour)},
		{family: "janitors' clocks", name: "the leader's clock a year behind", on: "clocks", longest: 24 * time.Second, strike: leader(-year)},
		{family: "janitors' clocks", name: "both janitors' clocks an hour behind", on: "clocks", longest: 24 * time.Second, strike: both(-hour)},
		{family: "janitors' clocks", name: "both janitors' clocks a year ahead", on: "clocks", longest: 24 * time.Second, strike: both(year)},
		{family: "sidecars' clocks", name: "many sidecars' clocks", on: "sidecars' clocks", longest: 20 * time.Second, strike: func() func() {
			var heals []func()
			for _, m := range w.fleet.living() {
				heals = append(heals, set([]time.Duration{0, hour, -hour, year, -year}[w.random.IntN(5)], m.wall))
			}
			return func() {
				for _, heal := range heals {
					heal()
				}
			}
		}},
	}
}

// linkFaults befall the links of one user to all of etcd, or of all to one member.
func (w *world) linkFaults() []fault {
	var all []fault
	for _, kind := range []struct {
		name    string
		trouble func() trouble
	}{
		{"cut off", func() trouble { return trouble{cut: true} }},
		{"delayed", func() trouble { return trouble{delay: w.lag()} }},
		{"half-open", func() trouble {
			up := w.random.IntN(2) == 0
			return trouble{holdUp: up, holdDown: !up}
		}},
	} {
		all = append(all,
			fault{family: "bad links of janitor", name: kind.name + " janitor", on: "janitors", longest: 20 * time.Second, strike: func() func() {
				return w.badLinks(users()[w.leading()], kind.trouble())
			}},
			fault{family: "bad links of zone", name: kind.name + " zone", on: "zones", longest: 16 * time.Second, strike: func() func() {
				return w.badLinks(users()[2+w.random.IntN(3)], kind.trouble())
			}},
			fault{family: "bad links of people", name: kind.name + " people", on: "people", longest: 6 * time.Second, strike: func() func() {
				return w.badLinks("people", kind.trouble())
			}},
			fault{family: "bad links of an etcd member to its clients", name: kind.name + " etcd member for its clients", on: "etcd", longest: 10 * time.Second, strike: func() func() {
				return w.badMember(w.random.IntN(members), kind.trouble())
			}},
		)
	}
	return all
}

// badLinks makes trouble on all links of one user, and on those of the store that is checked for linearizability.
func (w *world) badLinks(who string, t trouble) (heal func()) {
	end := w.diary.trouble(who, who+" was cut off, delayed or half-open")
	set := func(t trouble) {
		for _, user := range []string{who, "linear"} {
			for _, l := range w.links[user] {
				l.set("", t)
			}
		}
	}
	set(t)
	return func() {
		set(trouble{})
		end()
	}
}

// badMember makes trouble between one member and all its clients.
func (w *world) badMember(n int, t trouble) (heal func()) {
	end := w.diary.trouble("etcd", "a member was cut off, delayed or half-open")
	set := func(t trouble) {
		for _, links := range w.links {
			links[n].set("", t)
		}
	}
	set(t)
	return func() {
		set(trouble{})
		end()
	}
}

// launcherFaults befall whoever launches something just now, at any point.
func (w *world) launcherFaults() []fault {
	return []fault{
		{family: "kill launchers", name: "kill launchers", on: "launchers", longest: 8 * time.Second, strike: func() func() {
			return w.hunt(func(p *process) { p.kill() })
		}},
		{family: "stop launchers", name: "stop launchers", on: "launchers", longest: launchWindow, strike: func() func() {
			var stopped []*process
			end := w.hunt(func(p *process) {
				p.stop()
				stopped = append(stopped, p)
			})
			return func() {
				end()
				for _, p := range stopped {
					p.resume()
				}
			}
		}},
	}
}

// hunt does something to launchers, one after the other, each a random while after it was found.
func (w *world) hunt(do func(*process)) (heal func()) {
	over, done := make(chan struct{}), make(chan struct{})
	random := w.stream(w.random.Uint64())
	go func() {
		defer close(done)
		for {
			time.Sleep(time.Duration(random.IntN(120)) * time.Millisecond)
			if p, ok := choose(random, w.crowd.launchers()); ok {
				do(p)
				w.tally.add("launchers killed or stopped", 1)
			}
			select {
			case <-over:
				return
			default:
			}
		}
	}()
	return func() {
		close(over)
		<-done
	}
}
