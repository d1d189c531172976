package ec2sim

import (
	"net"
	"net/http"
	"net/url"
	"slices"
)

// Stage is when a fault strikes.
type Stage int

const (
	// BeforeDeed strikes before anything is done; what was asked for does
	// not happen unless the fault's effect is Pass.
	BeforeDeed Stage = iota
	// AfterDeed strikes when the deed is done and the answer is not yet
	// sent. Calls that EC2 refuses do no deed and are not struck.
	AfterDeed
)

// Effect is what the caller gets to see of a fault.
type Effect int

const (
	// Pass lets the call go on, for a fault that is only a Hook.
	Pass Effect = iota
	// Refuse answers with the fault's Code, Status and Message. After the
	// deed it is an answer that lies.
	Refuse
	// Drop resets the connection without an answer.
	Drop
	// Hang keeps the connection open without an answer until the client
	// goes away or the Sim is closed.
	Hang
)

// Fault is something to go wrong with the calls that it matches.
type Fault struct {
	Action string                // such as RunInstances; every action if empty
	Region string                // every region if empty
	Match  func(url.Values) bool // looks at the parameters; every call if nil. The Sim must not be used in it.
	Times  int                   // how often it strikes; until removed if 0

	Stage  Stage
	Effect Effect

	// Code is the error code of a refusal, InternalError if empty. Message
	// goes with it. Status is its HTTP status, that of the code if 0.
	Code    string
	Message string
	Status  int

	// Hook, if not nil, is called at the stage, before the effect. The Sim is not locked during the call and may be
	// used. A hook that sleeps adds latency. A call that hangs or is dropped is in Calls by then.
	Hook func()
}

// injected is a fault at work.
type injected struct {
	Fault
	left int // strikes left; negative for no end
}

// Inject makes f strike from now on. Of several faults that match a call at
// one stage, the one injected first strikes. remove ends it; removing a fault
// that is spent or removed does nothing.
func (s *Sim) Inject(f Fault) (remove func()) {
	in := &injected{Fault: f, left: f.Times}
	if f.Times == 0 {
		in.left = -1
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, in)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.faults = slices.DeleteFunc(s.faults, func(other *injected) bool { return other == in })
	}
}

// strike returns the fault that hits q at the stage, or nil, and counts it.
func (s *Sim) strike(q *request, stage Stage) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, in := range s.faults {
		if in.Stage != stage || !in.matches(q) {
			continue
		}
		if in.left--; in.left == 0 {
			s.faults = slices.Delete(s.faults, i, i+1)
		}
		return &in.Fault
	}
	return nil
}

func (f *Fault) matches(q *request) bool {
	return (f.Action == "" || f.Action == q.action) && (f.Region == "" || f.Region == q.region.name) &&
		(f.Match == nil || f.Match(q.form))
}

// suffer lets a fault strike q, and reports whether that was the end of it.
func (s *Sim) suffer(w http.ResponseWriter, r *http.Request, q *request, stage Stage) bool {
	f := s.strike(q, stage)
	if f == nil {
		return false
	}
	if f.Effect == Hang || f.Effect == Drop { // first: whoever learns of the call by its hook finds it in Calls
		s.record(q, 0, "")
	}
	if f.Hook != nil {
		f.Hook()
	}
	switch f.Effect {
	case Refuse:
		s.refuse(w, q, f.refusal())
	case Hang:
		select {
		case <-r.Context().Done():
		case <-s.closed:
		}
		reset(w)
	case Drop:
		reset(w)
	default:
		return false
	}
	return true
}

func (f *Fault) refusal() *apiError {
	code, message := f.Code, f.Message
	if code == "" {
		code = "InternalError"
	}
	if message == "" {
		message = "An internal error has occurred"
	}
	e := refusal(code, "%s", message)
	if f.Status != 0 {
		e.Status = f.Status
	}
	return e
}

// reset closes the connection so that the client sees a reset where the
// transport can do that, and an unexpected end otherwise.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) //nolint:forbidigo // how net/http is told to drop a connection
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // best effort: without it the client sees EOF
	}
	_ = conn.Close()
}
