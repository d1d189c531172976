package ec2sim

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// request is one call on its way through the Sim.
type request struct {
	params
	sim      *Sim
	protocol protocol
	action   string
	region   *region
	id       string
	now      time.Time // EC2's
	arrived  time.Time // ours
	touched  []string  // ids named, or made
}

// touch notes ids for Calls.
func (q *request) touch(ids ...string) { q.touched = append(q.touched, ids...) }

// dryRun returns EC2's way of saying that a call would have been done, if the
// caller asked for no more than that.
func (q *request) dryRun() error {
	if q.bool("DryRun", false) && q.err == nil {
		return refusal("DryRunOperation", "Request would have succeeded, but DryRun flag is set.")
	}
	return q.err
}

// paging reads MaxResults and NextToken. A page has 5 to 1000 rows, and there
// are none where ids are named:
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeInstances.html
func (q *request) paging(byID bool) paging {
	p := paging{limited: q.str("MaxResults") != "", size: q.int("MaxResults", 0)}
	switch {
	case !p.limited:
	case byID:
		q.fail("InvalidParameterCombination", "The parameter %s cannot be used with the parameter maxResults", "ids")
	case p.size < 5 || p.size > 1000:
		q.fail("InvalidParameterValue", "Value ( %d ) for parameter maxResults is invalid. Expecting 5 to 1000.", p.size)
	}
	if token := q.str("NextToken"); token != "" {
		after, ok := parsePageToken(token)
		if !ok {
			q.fail("InvalidPaginationToken", "The pagination token '%s' is not valid", token)
		}
		p.after = after
	}
	if sizes := q.sim.config.PageSizes; p.limited && len(sizes) > 0 {
		p.size = min(p.size, sizes[q.sim.pages%len(sizes)])
		q.sim.pages++
		p.serial = q.sim.pages
	}
	return p
}

// ServeHTTP answers one call.
func (s *Sim) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := &request{sim: s, id: uuid.NewString(), now: s.config.Now(), arrived: time.Now()}
	w.Header().Set("Date", q.now.UTC().Format(http.TimeFormat))
	w.Header().Set("X-Amzn-Requestid", q.id)
	if err := s.read(q, r); err != nil {
		s.refuse(w, q, asRefusal(err))
		return
	}
	if s.suffer(w, r, q, BeforeDeed) {
		return
	}
	b, err := s.do(q)
	if err != nil {
		s.refuse(w, q, asRefusal(err))
		return
	}
	if s.suffer(w, r, q, AfterDeed) {
		return
	}
	s.answer(w, q, b)
}

func (s *Sim) answer(w http.ResponseWriter, q *request, b body) {
	contentType, answer, err := q.encode(b)
	if err != nil {
		s.refuse(w, q, asRefusal(err))
		return
	}
	s.record(q, http.StatusOK, "")
	s.write(w, q, contentType, http.StatusOK, answer)
}

func (s *Sim) refuse(w http.ResponseWriter, q *request, e *apiError) {
	contentType, answer, err := q.encodeRefusal(e)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	s.record(q, e.Status, e.Code)
	s.write(w, q, contentType, e.Status, answer)
}

func (s *Sim) write(w http.ResponseWriter, q *request, contentType string, status int, answer []byte) {
	time.Sleep(s.config.Latency - time.Since(q.arrived))
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
	w.WriteHeader(status)
	if _, err := w.Write(answer); err != nil {
		s.config.Logger.Debug("answer not taken", "error", err)
	}
}

// read finds out which service, action and region a request means.
func (s *Sim) read(q *request, r *http.Request) error {
	q.form = url.Values{}
	if target := r.Header.Get("X-Amz-Target"); target != "" {
		q.protocol, q.action = ssmJSON, strings.TrimPrefix(target, "AmazonSSM.")
		var input map[string]any
		if err := json.NewDecoder(r.Body).Decode(&input); err != nil {
			return refusal("SerializationException", "%v", err)
		}
		for name, value := range input {
			if text, ok := value.(string); ok {
				q.form.Set(name, text)
			}
		}
	} else {
		if err := r.ParseForm(); err != nil {
			return refusal("MalformedQueryString", "%v", err)
		}
		q.form, q.action = r.Form, r.Form.Get("Action")
		if q.action == "GetCallerIdentity" || q.action == "AssumeRole" {
			q.protocol = stsQuery
		}
	}
	return s.locate(q, r.Header.Get("Authorization"))
}

// locate reads the region out of a signature's credential scope,
// KEY/DATE/REGION/SERVICE/aws4_request:
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-authentication-methods.html
func (s *Sim) locate(q *request, authorization string) error {
	if authorization == "" {
		return refusal("MissingAuthenticationToken", "Request is missing Authentication Token")
	}
	name := s.config.Region
	_, scope, _ := strings.Cut(authorization, "Credential=")
	scope, _, _ = strings.Cut(scope, ",")
	if parts := strings.Split(scope, "/"); len(parts) == 5 {
		name = parts[2]
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if q.region = s.regions[name]; q.region == nil {
		return refusal("AuthFailure", "AWS was not able to validate the provided access credentials for %s", name)
	}
	return nil
}
