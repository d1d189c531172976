package ec2_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"lapse/lease/ec2"
	"lapse/lease/ec2/ec2sim"
)

// What knows no client tokens answers a question for one as moto 5 does, once there is an instance, or ignores it.
func TestAnEndpointRevealsThatItIgnoresClientTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	if err := w.Cloud(t, w.AWS(), ec2.Options{}).FindsByToken(t.Context()); err != nil {
		t.Errorf("an endpoint that knows them: %v", err)
	}
	w.Sim.Create(ec2sim.Instance{ClientToken: "web.1"})
	for name, answer := range map[string]func(http.ResponseWriter, *http.Request){
		"fails": func(rw http.ResponseWriter, _ *http.Request) {
			http.Error(rw, "<!doctype html><h1>Internal Server Error</h1>", http.StatusInternalServerError)
		},
		"lists everything": func(rw http.ResponseWriter, r *http.Request) {
			r.Form.Del("Filter.1.Name")
			r.Form.Del("Filter.1.Value.1")
			r.PostForm = r.Form
			w.Sim.ServeHTTP(rw, r)
		},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if err := r.ParseForm(); err == nil && r.Form.Get("Filter.1.Name") == "client-token" {
				answer(rw, r)
				return
			}
			w.Sim.ServeHTTP(rw, r)
		}))
		t.Cleanup(server.Close)
		cfg := w.AWS()
		cfg.BaseEndpoint = aws.String(server.URL)
		if err := w.Cloud(t, cfg, ec2.Options{}).FindsByToken(t.Context()); err == nil {
			t.Errorf("one that %s passes for one that knows them", name)
		}
	}
}
