package edge

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// proved are the keys that the handler has vouched for.
type proved struct {
	rate Rate
	last time.Duration // how long a key is remembered

	mu   sync.Mutex
	keys *recent[string, provedKey]
}

type provedKey struct {
	until    time.Time
	at       netip.Addr // from where it called last
	requests *rate.Limiter
}

func newProved(c Config) *proved {
	return &proved{rate: c.Limits.ProvedRate, last: c.Timeouts.Vouched, keys: newRecent[string, provedKey](c.Limits.Keys)}
}

// vouch says that a key is proved, and returns from where it called before; the zero address if it did not.
func (p *proved) vouch(key string, at netip.Addr, now time.Time) (before netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.keys.get(key)
	if known == nil {
		known = p.keys.add(key, provedKey{requests: p.rate.limiter(1)})
	}
	before, known.at, known.until = known.at, at, now.Add(p.last)
	return before
}

// disown forgets a key.
func (p *proved) disown(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys.remove(key)
}

// requests is the rate of a proved key; nil if it is not proved.
func (p *proved) requests(key string, now time.Time) *rate.Limiter {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.keys.get(key)
	switch {
	case known == nil:
		return nil
	case !now.Before(known.until):
		p.keys.remove(key)
		return nil
	}
	return known.requests
}
