package ec2sim

import (
	"net/http"
	"strings"

	"github.com/google/uuid"
)

// Accounts are several accounts behind one endpoint, as AWS is: by access key id, the account of which a call is. A key
// that is not there is refused in EC2's words.
type Accounts map[string]*Sim

// ServeHTTP lets the account answer whose key signed the call.
func (a Accounts) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if sim := a[accessKey(r)]; sim != nil {
		sim.ServeHTTP(w, r)
		return
	}
	q := &request{id: uuid.NewString()}
	e := refusal("AuthFailure", "AWS was not able to validate the provided access credentials")
	contentType, answer, err := q.encodeRefusal(e)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(e.Status)
	_, _ = w.Write(answer) // who does not take it knows less
}

// accessKey reads whose key signed a call: the first part of its credential scope.
func accessKey(r *http.Request) string {
	_, scope, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
	key, _, _ := strings.Cut(scope, "/")
	return key
}
