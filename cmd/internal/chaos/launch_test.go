//go:build chaos

package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"lapse/lease/ec2/ec2sim"
)

// crowd is the people who launch instances.
type crowd struct {
	w *world

	mu      sync.Mutex
	orders  map[string]*order
	busy    map[*process]string // launchers and operators at work → token or id
	paused  bool
	working sync.WaitGroup // orders and operations under way
}

// order is one launch that somebody wants.
type order struct {
	token string
	count int
	quiet bool // its instances never get a sidecar
	args  []string

	leased []string // instances of which a launcher printed that they have their lease
}

// order is one of some kinds. The terms of most are long: something else is to end them.
func (c *crowd) order(r *rand.Rand, n int, brief bool) *order {
	o := &order{token: fmt.Sprintf("chaos-%d", n), count: 1 + r.IntN(4)}
	term, zones := 30*time.Minute, []string{"a", "b", "c"}
	r.Shuffle(len(zones), func(i, j int) { zones[i], zones[j] = zones[j], zones[i] })
	heartbeats := true
	switch kind := n % 10; {
	case n < 12: // at first, a population
		o.count = 4
	case kind == 2:
		o.quiet, o.count = true, 1
	case kind == 3:
		heartbeats = false
	case brief: // there are enough
		term, o.count = time.Duration(5+r.IntN(10))*time.Second, 1
	case kind < 7:
		term = time.Duration(10+r.IntN(15)) * time.Second
	}
	o.args = []string{
		"launch", "--id", o.token, "--count", fmt.Sprint(o.count), "--image-id", "ami-0123456789abcdef0", "--instance-type", instanceType,
		"--term", term.String(), "--max-term", "3h", "--holder", "chaos", "--timeout", "8s", "-o", "json",
	}
	if heartbeats {
		o.args = append(o.args, "--heartbeat-timeout", heartbeatTimeout.String())
	}
	for _, zone := range zones[:1+r.IntN(3)] {
		o.args = append(o.args, "--subnet-id", c.w.sim.SubnetID(region+zone))
	}
	return o
}

// quiet reports whether instances of a launch never get a sidecar.
func (c *crowd) quiet(token string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.orders[token]
	return o != nil && o.quiet
}

// run keeps the population up, three launches at a time, and launches something brief now and then when it is.
func (c *crowd) run(ctx context.Context) {
	random, slots := c.w.stream(1), make(chan struct{}, 3)
	var last time.Time
	for n := 0; ctx.Err() == nil; {
		full := len(c.w.fleet.living())+4*len(slots) >= population
		if (!full || time.Since(last) > 2*time.Second) && c.enter() {
			o := c.order(random, n, full)
			last = time.Now()
			n++
			choices := c.w.stream(1000 + uint64(n))
			slots <- struct{}{}
			c.begin(o)
			go func() {
				defer func() { <-slots }()
				defer c.working.Done()
				c.carryOut(ctx, o, choices)
			}()
		}
		pause(ctx, 100*time.Millisecond)
	}
}

// enter begins a piece of work, unless all is to be quiet; it ends by working.Done.
func (c *crowd) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.paused {
		c.working.Add(1)
	}
	return !c.paused
}

// hush lets nobody begin anything, and waits until what is under way is done.
func (c *crowd) hush() (resume func()) {
	c.mu.Lock()
	c.paused = true
	c.mu.Unlock()
	c.working.Wait()
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.paused = false
	}
}

// begin notes what somebody wants.
func (c *crowd) begin(o *order) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.orders[o.token] = o
	c.w.tally.add("launches", 1)
}

// carryOut launches, and again as people do who did not get what they wanted; or they give up.
func (c *crowd) carryOut(ctx context.Context, o *order, choices *rand.Rand) {
	for range 3 {
		p, err := c.work(o.token, nil, "lease", o.args...)
		if err != nil || ctx.Err() != nil {
			return
		}
		switch code := p.code(); {
		case code == 0 || code == 6:
			c.took(o, p.out.Bytes())
			return
		case choices.IntN(4) == 0:
			c.w.tally.add("launches given up", 1)
			return
		}
		c.w.tally.add("launches resumed", 1)
	}
}

// took notes what a launcher printed.
func (c *crowd) took(o *order, out []byte) {
	var answer struct {
		Leases []leaseRecord `json:"leases"`
	}
	if err := json.Unmarshal(out, &answer); err != nil {
		c.w.t.Errorf("launch %s printed invalid JSON: %v: %s", o.token, err, out)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range answer.Leases {
		if l.State == "active" {
			o.leased = append(o.leased, l.InstanceID)
		}
	}
}

// work runs a command to its end, where faults find it.
func (c *crowd) work(about string, started func(*process), name string, args ...string) (*process, error) {
	p, err := start(c.w.command("people", name, args...), filepath.Join(c.w.dir, "people.log"))
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.busy[p] = about
	c.mu.Unlock()
	if started != nil {
		started(p)
	}
	<-p.done
	c.mu.Lock()
	delete(c.busy, p)
	c.mu.Unlock()
	return p, nil
}

// launchers are the processes that launch something just now.
func (c *crowd) launchers() []*process {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []*process
	for p, about := range c.busy {
		if strings.HasPrefix(about, "chaos-") {
			all = append(all, p)
		}
	}
	slices.SortFunc(all, func(a, b *process) int { return a.cmd.Process.Pid - b.cmd.Process.Pid })
	return all
}

// doom launches something whose launcher dies, with a volume and an interface that outlive their instance. Nobody goes on
// with it.
func (c *crowd) doom(n int) {
	o := &order{token: fmt.Sprintf("chaos-doomed-%d", n), count: 1 + n%2}
	request := filepath.Join(c.w.dir, "request.json")
	text := `{"BlockDeviceMappings":[{"DeviceName":"/dev/sdf","Ebs":{"VolumeSize":5,"DeleteOnTermination":false}}],
		"NetworkInterfaces":[{"DeviceIndex":0,"DeleteOnTermination":false}]}`
	if err := os.WriteFile(request, []byte(text), 0o600); err != nil {
		c.w.t.Error(err)
		return
	}
	o.args = []string{
		"launch", "--id", o.token, "--count", fmt.Sprint(o.count), "--image-id", "ami-0123456789abcdef0", "--instance-type", instanceType,
		"--term", "30m", "--heartbeat-timeout", heartbeatTimeout.String(), "--request", request, "--timeout", "8s", "-o", "json",
	}
	c.begin(o)
	c.cutShort(o)
}

// resume launches something whose launcher dies, and goes on with it.
func (c *crowd) resume(ctx context.Context, n int) {
	choices := c.w.stream(1000 + uint64(n))
	o := c.order(choices, n, false)
	c.begin(o)
	if c.cutShort(o) {
		c.w.tally.add("launches resumed", 1)
		c.carryOut(ctx, o, choices)
	}
}

// cutShort launches, kills the launcher the moment that EC2 has made the first instances, and reports whether it came to that.
func (c *crowd) cutShort(o *order) bool {
	victim := make(chan *process, 1)
	remove := c.w.sim.Inject(ec2sim.Fault{
		Action: "RunInstances", Stage: ec2sim.AfterDeed, Effect: ec2sim.Drop, Times: 1,
		Match: func(form url.Values) bool { return form.Get("ClientToken") == o.token+".1" },
		Hook: func() {
			(<-victim).kill()
			c.w.tally.add("launchers killed between action and answer", 1)
		},
	})
	defer remove()
	p, err := c.work(o.token, func(p *process) { victim <- p }, "lease", o.args...)
	if err == nil && p.code() == 0 {
		c.took(o, p.out.Bytes())
	}
	return err == nil && p.code() != 0
}

// every order so far, by its token.
func (c *crowd) everything() map[string]order {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := map[string]order{}
	for token, o := range c.orders {
		all[token] = *o
	}
	return all
}
