package lease

// Termination is what became of one instance id in a request to terminate: EC2 accepted it, refused this very instance,
// or the outcome is not known.
type Termination struct {
	ID        string
	State     InstanceState // state that EC2 answered with; empty unless it accepted
	Code      string        // EC2's error code if it refused this very instance; empty otherwise
	RequestID string        // of the call that decided; empty if no answer came
	Err       error         // why EC2 did not accept; nil if it did
}

// Accepted reports whether EC2 took the request: the instance is terminated or on its way there.
func (t Termination) Accepted() bool { return t.Err == nil }

// Refused reports whether EC2 refused this very instance: it is unknown, protected or not ours to terminate. Neither accepted
// nor refused means that the call failed for all of its ids; try again.
func (t Termination) Refused() bool { return t.Err != nil && t.Code != "" }
