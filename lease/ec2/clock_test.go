package ec2_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"lapse/lease/ec2"
	"lapse/lease/ec2/ec2sim"
)

// What knows no client tokens answers a question for one as moto 5 does, once there is an instance.
func TestAnEndpointShowsThatItKnowsNoClientTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	if err := w.cloud(t, w.aws(), ec2.Options{}).FindsByToken(t.Context()); err != nil {
		t.Errorf("an endpoint that knows them: %v", err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err == nil && r.Form.Get("Filter.1.Name") == "client-token" {
			http.Error(rw, "<!doctype html><h1>Internal Server Error</h1>", http.StatusInternalServerError)
			return
		}
		w.sim.ServeHTTP(rw, r)
	}))
	t.Cleanup(server.Close)
	cfg := w.aws()
	cfg.BaseEndpoint = aws.String(server.URL)
	if err := w.cloud(t, cfg, ec2.Options{}).FindsByToken(t.Context()); err == nil {
		t.Error("one that knows none passes for one that does")
	}
}
