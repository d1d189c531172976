package ec2_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"lapse/lease/ec2"
	"lapse/lease/ec2/ec2sim"
)

func TestProductsThatIgnoreClientTokensAreRecognised(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		header, value, want string
	}{
		"EC2":                      {"Server", "AmazonEC2", ""},
		"a server without a name":  {"", "", ""},
		"moto":                     {"Server", "Werkzeug/3.1.8 Python/3.11.7", "moto"},
		"LocalStack":               {"X-Localstack", "true", "LocalStack"},
		"a name that only has one": {"Server", "proxy of Werkzeug/3", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, ec2sim.Config{})
			cfg := w.AWS()
			target, err := url.Parse(aws.ToString(cfg.BaseEndpoint))
			if err != nil {
				t.Fatal(err)
			}
			proxy := httputil.NewSingleHostReverseProxy(target)
			proxy.ModifyResponse = func(r *http.Response) error {
				if c.header != "" {
					r.Header.Add("Server", "amazon.com") // as moto does, beside the other
					r.Header.Add(c.header, c.value)
				}
				return nil
			}
			server := httptest.NewServer(proxy)
			t.Cleanup(server.Close)
			cfg.BaseEndpoint = aws.String(server.URL)
			cloud := w.Cloud(t, cfg, ec2.Options{})
			if got := cloud.IgnoresTokens(); got != "" {
				t.Errorf("%q before the first answer", got)
			}
			if _, _, err := cloud.Clock(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := cloud.IgnoresTokens(); got != c.want {
				t.Errorf("recognised %q, want %q", got, c.want)
			}
		})
	}
}
