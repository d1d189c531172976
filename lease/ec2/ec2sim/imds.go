package ec2sim

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Metadata is the instance metadata service of one instance, version 2 only:
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
// It is an http.Handler and safe for use by many goroutines.
type Metadata struct {
	account  string
	instance func() (Instance, bool)
	now      func() time.Time
	signers  *signers

	mu     sync.Mutex
	tokens map[string]time.Time // token → when it expires
	script []Answer             // of the reads to come; the last is that of all after it
}

// Answer is how a read of metadata is answered.
type Answer int

const (
	// Truth is what the service knows.
	Truth Answer = iota
	// Nothing is status 200 and an empty body, as the real service has been
	// seen to answer while an instance boots.
	Nothing
	// NotFound is status 404, for what may well be there later.
	NotFound
	// Unauthorized is status 401, as for a token that is too old.
	Unauthorized
	// Unavailable is status 503.
	Unavailable
	// Silence gives no answer until the client goes away.
	Silence
)

// IMDS returns the metadata service of an instance that no Sim needs to know.
func IMDS(i Instance) *Metadata {
	return newMetadata("", func() (Instance, bool) { return i, true }, time.Now, &signers{})
}

// IMDS returns the metadata service of one of the Sim's instances. While the
// Sim has no such instance, or has it terminated, everything is not found.
func (s *Sim) IMDS(instanceID string) *Metadata {
	return newMetadata(s.config.Account, func() (Instance, bool) {
		i, ok := s.Instance(instanceID)
		return i, ok && i.State != Terminated
	}, s.config.Now, &s.signers)
}

func newMetadata(account string, instance func() (Instance, bool), now func() time.Time, by *signers) *Metadata {
	return &Metadata{account: account, instance: instance, now: now, signers: by, tokens: make(map[string]time.Time)}
}

// Script says how the next reads of metadata are answered, one by one, whoever
// reads what; all after the last as the last. Tokens are given out as ever.
func (m *Metadata) Script(answers ...Answer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.script = slices.Clone(answers)
}

const (
	sessionPath    = "/latest/api/token"
	ttlHeader      = "X-Aws-Ec2-Metadata-Token-Ttl-Seconds"
	sessionHeader  = "X-Aws-Ec2-Metadata-Token"
	maxTokenTTL    = 21600 // seconds
	metadataPrefix = "/latest/meta-data/"
	documentPath   = "/latest/dynamic/instance-identity/document"
	signedPath     = "/latest/dynamic/instance-identity/rsa2048"
	userDataPath   = "/latest/user-data"
)

// ServeHTTP answers PUT of a token, and GET of everything else with one.
func (m *Metadata) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i, ok := m.instance()
	switch {
	case !ok:
		http.NotFound(w, r)
	case r.URL.Path == sessionPath && r.Method == http.MethodPut:
		m.giveToken(w, r)
	case r.URL.Path == sessionPath:
		http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
	case !m.admits(r.Header.Get(sessionHeader)):
		http.Error(w, "Unauthorized", http.StatusUnauthorized)
	default:
		m.read(w, r, i)
	}
}

// giveToken answers with a new token. Proxied requests get none.
func (m *Metadata) giveToken(w http.ResponseWriter, r *http.Request) {
	timeout, err := strconv.Atoi(r.Header.Get(ttlHeader))
	switch {
	case r.Header.Get("X-Forwarded-For") != "":
		http.Error(w, "Forbidden", http.StatusForbidden)
		return
	case err != nil || timeout < 1 || timeout > maxTokenTTL:
		http.Error(w, "Bad Request", http.StatusBadRequest)
		return
	}
	token := rand.Text()
	m.mu.Lock()
	m.tokens[token] = m.now().Add(time.Duration(timeout) * time.Second)
	m.mu.Unlock()
	w.Header().Set(ttlHeader, strconv.Itoa(timeout))
	_, _ = w.Write([]byte(token)) // whoever went away needs no token
}

// admits reports whether a token was given out and is not too old.
func (m *Metadata) admits(token string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	expires, given := m.tokens[token]
	return given && m.now().Before(expires)
}

func (m *Metadata) read(w http.ResponseWriter, r *http.Request, i Instance) {
	text, ok := m.text(i, r.URL.Path)
	switch answer := m.next(); {
	case answer == Silence:
		<-r.Context().Done()
	case answer == Unavailable:
		http.Error(w, "Service Unavailable", http.StatusServiceUnavailable)
	case answer == Unauthorized:
		http.Error(w, "Unauthorized", http.StatusUnauthorized)
	case answer == NotFound, !ok:
		http.NotFound(w, r)
	case answer == Nothing:
		w.Header().Set("Content-Type", "text/plain")
	default:
		w.Header().Set("Content-Type", "text/plain")
		_, _ = w.Write([]byte(text)) // whoever went away needs no answer
	}
}

// next takes the next answer of the script.
func (m *Metadata) next() Answer {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.script) == 0 {
		return Truth
	}
	answer := m.script[0]
	if len(m.script) > 1 {
		m.script = m.script[1:]
	}
	return answer
}

// text returns what an instance finds under a path.
func (m *Metadata) text(i Instance, path string) (string, bool) {
	if path == documentPath {
		return m.document(i), true
	}
	if path == signedPath {
		signer, err := m.signers.of(i.Region)
		if err != nil {
			return "", false
		}
		text, err := signer.sign([]byte(m.document(i)))
		return text, err == nil
	}
	if path == userDataPath {
		data, err := base64.StdEncoding.DecodeString(i.UserData)
		return string(data), err == nil && len(data) > 0
	}
	item, ok := strings.CutPrefix(path, metadataPrefix)
	if !ok {
		return "", false
	}
	text, ok := map[string]string{
		"instance-id":                    i.ID,
		"placement/region":               i.Region,
		"placement/availability-zone":    i.Zone,
		"placement/availability-zone-id": i.ZoneID,
		"ami-id":                         i.ImageID,
		"instance-type":                  i.Type,
		"local-ipv4":                     i.PrivateIP,
	}[item]
	return text, ok
}

// document is the instance identity document, unsigned:
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-identity-documents.html
func (m *Metadata) document(i Instance) string {
	text, err := json.MarshalIndent(map[string]any{
		"accountId": m.account, "architecture": "x86_64", "availabilityZone": i.Zone, "billingProducts": nil,
		"devpayProductCodes": nil, "imageId": i.ImageID, "instanceId": i.ID, "instanceType": i.Type,
		"kernelId": nil, "marketplaceProductCodes": nil, "pendingTime": i.LaunchTime.UTC().Format(time.RFC3339),
		"privateIp": i.PrivateIP, "ramdiskId": nil, "region": i.Region, "version": "2017-09-30",
	}, "", "  ")
	if err != nil {
		return "" // strings and nils always marshal
	}
	return string(text)
}
