package sim

import (
	"math/rand/v2"
	"time"
)

// dice are all that chance decides in one schedule. The same seed answers the same question in the same way, whatever
// was asked before: so a run is the same however its goroutines take turns.
type dice uint64

// of answers a question that is asked for the nth time.
func (d dice) of(question string, n int) roll {
	const offset, prime = 14695981039346656037, 1099511628211 // FNV-1a
	h := uint64(offset)
	for i := range len(question) {
		h = (h ^ uint64(question[i])) * prime
	}
	return roll(scramble(h ^ scramble(uint64(d)+uint64(n)<<32)))
}

// stream is a source for questions that are asked one after the other.
func (d dice) stream(question string) *rand.Rand {
	return rand.New(rand.NewPCG(uint64(d), uint64(d.of(question, 0))))
}

// scramble is splitmix64's last step.
func scramble(z uint64) uint64 {
	z += 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// roll is one answer, from which several choices are drawn.
type roll uint64

func (r *roll) next() uint64 {
	*r = roll(scramble(uint64(*r)))
	return uint64(*r)
}

// chance is true with this probability.
func (r *roll) chance(p float64) bool { return float64(r.next()>>11)/(1<<53) < p }

// between is a duration from least on and below most.
func (r *roll) between(least, most time.Duration) time.Duration {
	return least + time.Duration(r.next()%uint64(most-least))
}

// between is a duration from least on and below most.
func between(r *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(r.Int64N(int64(most-least)))
}

// pick is one of several.
func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

// oneIn is true once in n times.
func oneIn(r *rand.Rand, n int) bool { return r.IntN(n) == 0 }
