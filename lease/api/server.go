package api

import (
	"cmp"
	"context"
	_ "embed" // the specification
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"lapse/lease"
	"lapse/lease/api/edge"
	"lapse/lease/api/identity"
	"lapse/lease/api/wire"
	"lapse/lease/problem"
	"lapse/lease/self"
)

// Specification is the OpenAPI description of the API.
//
//go:embed openapi.yaml
var Specification []byte

// callMax bounds one request, whatever the store and EC2 do.
const callMax = 10 * time.Second

// Store is what the server needs of the store of leases.
type Store interface {
	self.Store
	// Resume is the claim of the heartbeat that a boot of an instance has made; of whichever boot, if none is given.
	Resume(ctx context.Context, id, boot string) (lease.Claim, error)
	Registry(ctx context.Context) (lease.Registry, error)
	Launch(ctx context.Context, token string) (lease.Launch, error)
	// Enrolment is empty if there is none.
	Enrolment(ctx context.Context, id string) (lease.Enrolment, error)
	UpdateEnrolment(ctx context.Context, id string, change func(lease.Enrolment) (lease.Enrolment, error)) (before, after lease.Enrolment, err error)
}

// Cloud is what the server needs of EC2 in one location.
type Cloud interface {
	Location() lease.Location
	// Describe looks instances up by id. An id that EC2 does not know is absent from the answer.
	Describe(ctx context.Context, ids []string) (lease.Listing, error)
}

// Config of a server. All but the last two are needed.
type Config struct {
	Store        Store
	Clouds       []Cloud
	Certificates identity.Certificates
	Now          func() time.Time
	Logger       *slog.Logger
	Refused      func(kind string) // is told each refusal, by the kind of its problem; nil: nobody
	Describes    float64           // calls a second to EC2 in one location, for those who enrol; 2 if 0
}

// Server answers instances. What it needs between two requests is in the store, so any replica answers.
type Server struct {
	cfg    Config
	clouds []*describer
	self   *self.Service
	memory *memory
	log    *slog.Logger
}

// New returns a server. It is a handler for [edge.Server], which says who calls.
func New(cfg Config) *Server {
	if cfg.Refused == nil {
		cfg.Refused = func(string) {}
	}
	s := &Server{cfg: cfg, self: self.New(cfg.Store, cfg.Now, cfg.Logger), memory: newMemory(cfg.Now), log: cfg.Logger}
	for _, cloud := range cfg.Clouds {
		s.clouds = append(s.clouds, newDescriber(cloud, cmp.Or(cfg.Describes, describesPerSecond), cfg.Logger))
	}
	return s
}

// Handler is the API with all its routes.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /openapi.yaml", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/yaml")
		_, _ = w.Write(Specification)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.refuse(w, &lease.NotFoundError{Kind: "page", ID: r.URL.Path})
	})
	return wire.HandlerWithOptions(routes{s}, wire.StdHTTPServerOptions{
		BaseRouter:       mux,
		ErrorHandlerFunc: func(w http.ResponseWriter, _ *http.Request, _ error) { s.refuse(w, badInstance()) },
	})
}

// routes are the operations of openapi.yaml.
type routes struct{ *Server }

// Enrol is the operation enrol.
func (s routes) Enrol(w http.ResponseWriter, r *http.Request, id string) {
	answer(s.Server, w, r, id, s.enrol)
}

// Renew is the operation renew.
func (s routes) Renew(w http.ResponseWriter, r *http.Request, id string) {
	answer(s.Server, w, r, id, func(ctx context.Context, c caller, r wire.RenewRequest) (wire.Renewed, error) {
		e, err := s.admit(ctx, c)
		if err != nil {
			return wire.Renewed{}, err
		}
		return s.renew(ctx, c, e, r)
	})
}

// Show is the operation show.
func (s routes) Show(w http.ResponseWriter, r *http.Request, id string) {
	answer(s.Server, w, r, id, func(ctx context.Context, c caller, _ struct{}) (wire.Shown, error) {
		if _, err := s.admit(ctx, c); err != nil {
			return wire.Shown{}, err
		}
		return s.show(ctx, c)
	})
}

// Peers is the operation peers. It takes no query: a later version may, and nobody should mistake this answer for that.
func (s routes) Peers(w http.ResponseWriter, r *http.Request, id string) {
	if r.URL.RawQuery != "" {
		s.refuse(w, &lease.LimitError{What: "query", Why: "must be empty: this call has no parameters"})
		return
	}
	answer(s.Server, w, r, id, func(ctx context.Context, c caller, _ struct{}) (wire.Peers, error) {
		if _, err := s.admit(ctx, c); err != nil {
			return wire.Peers{}, err
		}
		return s.peers(ctx, c)
	})
}

// Extend is the operation extend.
func (s routes) Extend(w http.ResponseWriter, r *http.Request, id string) {
	answer(s.Server, w, r, id, func(ctx context.Context, c caller, call wire.ExtendCall) (lease.Extended, error) {
		if _, err := s.admit(ctx, c); err != nil {
			return lease.Extended{}, err
		}
		return s.extend(ctx, c, call)
	})
}

// Release is the operation release.
func (s routes) Release(w http.ResponseWriter, r *http.Request, id string) {
	answer(s.Server, w, r, id, s.release)
}

// caller is who calls, and in the name of which instance.
type caller struct {
	edge.Caller

	id string
}

// answer decodes a request, lets do answer it, and encodes its result or its refusal.
func answer[Q, A any](s *Server, w http.ResponseWriter, r *http.Request, id string, do func(context.Context, caller, Q) (A, error)) {
	ctx, cancel := context.WithTimeout(r.Context(), callMax)
	defer cancel()
	if !regexp.MustCompile(`^i-[0-9a-f]{8,32}$`).MatchString(id) {
		s.refuse(w, badInstance())
		return
	}
	who, known := edge.CallerOf(ctx)
	if !known {
		s.refuse(w, &lease.NotEnrolledError{ID: id})
		return
	}
	var q Q
	if r.Method != http.MethodGet {
		if err := decode(r.Body, &q); err != nil {
			s.refuse(w, err)
			return
		}
	}
	a, err := do(ctx, caller{who, id}, q)
	if err != nil {
		s.refuse(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(a) // the caller has gone
}

func badInstance() error {
	return &lease.LimitError{What: "instance id", Why: "must be i- and 8 to 32 hexadecimal digits"}
}

// decode reads one JSON object without unknown fields. Its size is bounded by whoever serves.
func decode(body io.Reader, into any) error {
	d := json.NewDecoder(body)
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err == nil && !errors.Is(d.Decode(new(json.RawMessage)), io.EOF) {
		err = errors.New("more than one object")
	}
	if err != nil {
		return &lease.LimitError{What: "request body", Why: "must be one JSON object as documented: " + err.Error()}
	}
	return nil
}

// refuse answers with a problem. What went wrong inside is told to nobody outside.
func (s *Server) refuse(w http.ResponseWriter, err error) {
	if !problem.Known(err) {
		s.log.Warn("request failed", "error", err)
		err = &lease.UnavailableError{Why: "the registry gave no answer in time"}
	}
	p := problem.Of(err)
	s.cfg.Refused(p.Kind())
	if p.Status == http.StatusServiceUnavailable || p.Status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", strconv.Itoa(int(retryAfter(err).Seconds())))
	}
	p.Write(w)
}

// retryAfter is when to ask again.
func retryAfter(err error) time.Duration {
	if e, is := errors.AsType[*lease.UncheckedError](err); is {
		return time.Duration(e.After)
	}
	if e, is := errors.AsType[*lease.TooOftenError](err); is {
		return time.Duration(e.After)
	}
	return unknownPause
}
