package ec2sim_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"

	"lapse/lease/ec2/ec2sim"
)

func imdsClient(t *testing.T, handler http.Handler) (*imds.Client, string) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return imds.New(imds.Options{Endpoint: server.URL, ClientEnableState: imds.ClientEnabled}), server.URL
}

func metadata(t *testing.T, client *imds.Client, path string) (string, error) {
	t.Helper()
	out, err := client.GetMetadata(t.Context(), &imds.GetMetadataInput{Path: path})
	if err != nil {
		return "", err
	}
	defer out.Content.Close()
	text, err := io.ReadAll(out.Content)
	return string(text), err
}

func TestIMDSOfASimulatedInstance(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	id := w.run(t, zone("us-east-1b"))[0]
	client, _ := imdsClient(t, w.IMDS(id))
	i, _ := w.Instance(id)
	for path, want := range map[string]string{
		"instance-id":                    id,
		"placement/region":               "us-east-1",
		"placement/availability-zone":    "us-east-1b",
		"placement/availability-zone-id": "use1-az2",
		"ami-id":                         image,
		"instance-type":                  "t3.micro",
		"local-ipv4":                     i.PrivateIP,
	} {
		if got, err := metadata(t, client, path); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", path, got, err, want)
		}
	}
	if _, err := metadata(t, client, "tags/instance"); err == nil {
		t.Error("tags are served")
	}
	document, err := client.GetInstanceIdentityDocument(t.Context(), &imds.GetInstanceIdentityDocumentInput{})
	if err != nil {
		t.Fatal(err)
	}
	if document.InstanceID != id || document.AccountID != "123456789012" || document.Region != "us-east-1" ||
		!document.PendingTime.Equal(i.LaunchTime) {
		t.Errorf("document %+v", document)
	}
	w.terminate(t, id)
	if _, err := metadata(t, client, "instance-id"); err == nil {
		t.Error("a terminated instance is served")
	}
}

func TestIMDSAloneWithEmptyReads(t *testing.T) {
	t.Parallel()
	handler := ec2sim.IMDS(ec2sim.Instance{ID: "i-0123456789abcdef0", Region: "eu-west-1"})
	handler.Script(ec2sim.Nothing, ec2sim.Nothing, ec2sim.Truth)
	client, _ := imdsClient(t, handler)
	for n, want := range []string{"", "", "i-0123456789abcdef0", "i-0123456789abcdef0"} {
		if got, err := metadata(t, client, "instance-id"); err != nil || got != want {
			t.Errorf("read %d: %q, %v; want %q", n, got, err, want)
		}
	}
}

func TestIMDSByAScript(t *testing.T) {
	t.Parallel()
	const id = "i-0123456789abcdef0"
	handler := ec2sim.IMDS(ec2sim.Instance{ID: id})
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	handler.Script(ec2sim.NotFound, ec2sim.Unavailable, ec2sim.Unauthorized, ec2sim.Silence, ec2sim.Truth, ec2sim.Nothing)
	client := &http.Client{Timeout: 200 * time.Millisecond}
	ask := func(method, path, header, value string) (int, string) {
		r, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set(header, value)
		answer, err := client.Do(r)
		if err != nil {
			return 0, ""
		}
		defer answer.Body.Close()
		return answer.StatusCode, body(t, answer)
	}
	_, token := ask(http.MethodPut, "/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds", "60")
	for n, want := range []struct {
		status int
		text   string
	}{{404, ""}, {503, ""}, {401, ""}, {0, ""}, {200, id}, {200, ""}, {200, ""}} {
		status, text := ask(http.MethodGet, "/latest/meta-data/instance-id", "X-aws-ec2-metadata-token", token)
		if status != want.status || status == http.StatusOK && text != want.text {
			t.Errorf("read %d: %d %q, want %+v", n, status, text, want)
		}
	}
	handler.Script()
	if _, text := ask(http.MethodGet, "/latest/meta-data/instance-id", "X-aws-ec2-metadata-token", token); text != id {
		t.Errorf("without a script: %q", text)
	}
}

func TestIMDSWantsATokenOfVersion2(t *testing.T) {
	t.Parallel()
	now := newClock()
	w := newWorld(t, ec2sim.Config{Now: now.Now})
	_, url := imdsClient(t, w.IMDS(w.run(t)[0]))
	ask := func(method, path string, header ...string) (int, string) {
		r, err := http.NewRequestWithContext(t.Context(), method, url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for n := 0; n < len(header); n += 2 {
			r.Header.Set(header[n], header[n+1])
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		return answer.StatusCode, body(t, answer)
	}
	const timeout, token = "X-aws-ec2-metadata-token-ttl-seconds", "X-aws-ec2-metadata-token"
	const tokens, id = "/latest/api/token", "/latest/meta-data/instance-id"
	status, good := ask(http.MethodPut, tokens, timeout, "60")
	if status != http.StatusOK || good == "" {
		t.Fatalf("token: %d %q", status, good)
	}
	for _, c := range []struct {
		name, method, path string
		header             []string
		want               int
	}{
		{"no token", http.MethodGet, id, nil, http.StatusUnauthorized},
		{"wrong token", http.MethodGet, id, []string{token, "x"}, http.StatusUnauthorized},
		{"token", http.MethodGet, id, []string{token, good}, http.StatusOK},
		{"no such item", http.MethodGet, "/latest/meta-data/x", []string{token, good}, http.StatusNotFound},
		{"no ttl", http.MethodPut, tokens, nil, http.StatusBadRequest},
		{"ttl too long", http.MethodPut, tokens, []string{timeout, "21601"}, http.StatusBadRequest},
		{"proxied", http.MethodPut, tokens, []string{timeout, "60", "X-Forwarded-For", "10.0.0.1"}, http.StatusForbidden},
		{"token by GET", http.MethodGet, tokens, []string{timeout, "60"}, http.StatusMethodNotAllowed},
	} {
		if got, _ := ask(c.method, c.path, c.header...); got != c.want {
			t.Errorf("%s: status %d, want %d", c.name, got, c.want)
		}
	}
	_, brief := ask(http.MethodPut, tokens, timeout, "1")
	now.pass(time.Second)
	if got, _ := ask(http.MethodGet, id, token, brief); got != http.StatusUnauthorized {
		t.Errorf("old token: status %d, want 401", got)
	}
}
