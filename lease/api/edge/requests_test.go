package edge_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"lapse/lease/api/edge"
)

func TestNobodySaysWhereARequestComesFrom(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	forged := http.Header{"Accept": {"text/plain"}}
	for _, name := range []string{
		"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Client-Cert", "Forwarded", "Via", "X-Real-Ip", "X-Client-Ip",
		"True-Client-Ip", "Cf-Connecting-Ip", "Client-Cert", "Client-Cert-Chain", "X-Amzn-Mtls-Clientcert", "X-Envoy-External-Address",
		"x-forwarded-for", "X_FORWARDED_FOR", "X_Real_IP",
	} {
		forged[name] = []string{"203.0.113.5", "203.0.113.6"}
	}
	c := r.caller("127.0.0.7")
	resp, text, err := c.do(http.MethodPost, "/", "", forged)
	if err != nil {
		t.Fatal(err)
	}
	var saw answer
	if err := json.Unmarshal([]byte(text), &saw); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %q: %v", resp.Status, text, err)
	}
	if saw.Addr != "127.0.0.7" || !strings.HasPrefix(saw.Remote, "127.0.0.7:") {
		t.Errorf("%+v", saw)
	}
	if saw.Header.Get("Accept") == "" || strings.Contains(fmt.Sprint(saw.Header), "203.0.113") {
		t.Errorf("the handler sees %v", saw.Header)
	}
}

func TestBodiesReachTheHandlerWhole(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	for _, body := range []string{"", "x", strings.Repeat("x", 64<<10)} {
		for _, chunked := range []bool{false, true} {
			c := r.caller("127.0.0.1")
			text := fmt.Sprintf("POST / HTTP/1.1\r\nHost: api\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
			if chunked {
				text = "POST / HTTP/1.1\r\nHost: api\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nTrailer: X-Forwarded-For\r\n\r\n"
				if body != "" {
					text += fmt.Sprintf("%x\r\n%s\r\n", len(body), body)
				}
				text += "0\r\nX-Forwarded-For: 203.0.113.5\r\n\r\n"
			}
			conn := c.open()
			if _, err := conn.Write([]byte(text)); err != nil {
				t.Fatal(err)
			}
			saw := read(t, conn)
			if saw.Body != body || saw.Length != int64(len(body)) {
				t.Errorf("of %d bytes (chunked: %v) the handler sees %d, and is told %d", len(body), chunked, len(saw.Body), saw.Length)
			}
		}
	}
}

func TestRequestsThatAreRefused(t *testing.T) {
	t.Parallel()
	head := func(more string) string { return "POST / HTTP/1.1\r\nHost: api\r\n" + more }
	for name, test := range map[string]struct {
		sends string
		want  edge.Kind
		line  string // of the status
	}{
		"too many bytes of headers":        {head("A: " + strings.Repeat("a", 9<<10) + "\r\n\r\n"), edge.KindHeaderSize, "HTTP/1.1 431"},
		"too many headers":                 {head(strings.Repeat("A: a\r\n", 2000) + "\r\n"), edge.KindHeaderSize, "HTTP/1.1 431"},
		"too long a path":                  {"GET /" + strings.Repeat("a", 9<<10) + " HTTP/1.1\r\nHost: api\r\n\r\n", edge.KindHeaderSize, "HTTP/1.1 431"},
		"a body larger than the limit":     {head("Content-Length: 65537\r\n\r\n"), edge.KindBodySize, "HTTP/1.1 413"},
		"a body larger than any":           {head("Content-Length: 9223372036854775807\r\n\r\n"), edge.KindBodySize, "HTTP/1.1 413"},
		"chunks larger than the limit":     {head("Transfer-Encoding: chunked\r\n\r\n10001\r\n" + strings.Repeat("x", 0x10001)), edge.KindBodySize, "HTTP/1.1 413"},
		"chunks that are none":             {head("Transfer-Encoding: chunked\r\n\r\nno chunk\r\n\r\n"), edge.KindBody, "HTTP/1.1 400"},
		"HTTP/1.0":                         {"GET / HTTP/1.0\r\n\r\n", edge.KindHTTPVersion, "HTTP/1.0 505"},
		"HTTP/2 without asking":            {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", edge.KindHTTPVersion, "HTTP/1.1 505"},
		"HTTP/3":                           {"GET / HTTP/3.0\r\nHost: api\r\n\r\n", edge.KindHTTP, "HTTP/1.1 505"},
		"no HTTP":                          {"hello, API\r\n\r\n", edge.KindHTTP, "HTTP/1.1 400"},
		"no host":                          {"GET / HTTP/1.1\r\n\r\n", edge.KindHTTP, "HTTP/1.1 400"},
		"two lengths":                      {head("Content-Length: 1\r\nContent-Length: 2\r\n\r\n"), edge.KindHTTP, "HTTP/1.1 400"},
		"an encoding that nobody knows":    {head("Transfer-Encoding: secret\r\n\r\n"), edge.KindHTTP, "HTTP/1.1 501"},
		"an expectation that nobody knows": {head("Expect: answers\r\nContent-Length: 1\r\n\r\nx"), edge.KindHTTP, "HTTP/1.1 417"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t, nil)
			if line := r.caller("127.0.0.1").send(test.sends); !strings.HasPrefix(line, test.line) {
				t.Errorf("answered %q, want %s", line, test.line)
			}
			r.only(test.want, 1)
		})
	}
	t.Run("headers of almost the limit are none of them", func(t *testing.T) {
		t.Parallel()
		r := start(t, nil)
		if line := r.caller("127.0.0.1").send(head("Connection: close\r\nA: " + strings.Repeat("a", 7<<10) + "\r\n\r\n")); line != "HTTP/1.1 200 OK" {
			t.Error(line)
		}
	})
}

// clock is a wall clock that stands.
type clock struct{ at atomic.Int64 }

func (c *clock) now() time.Time          { return time.Unix(1_700_000_000, c.at.Load()) }
func (c *clock) advance(d time.Duration) { c.at.Add(int64(d)) }

// refusedWith fails unless a refusal is as it should be.
func (c *caller) refusedWith(status int, retryAfter string) {
	c.Helper()
	resp, text, err := c.do(http.MethodGet, "/", "", nil)
	if err != nil {
		c.Fatal(err)
	}
	var problem struct {
		Type   string
		Status int
	}
	if err := json.Unmarshal([]byte(text), &problem); err != nil || problem.Status != status || problem.Type != "about:blank" {
		c.Errorf("%q is no problem document of status %d: %v", text, status, err)
	}
	if got := resp.Header.Get("Content-Type"); got != "application/problem+json" {
		c.Errorf("content type %q", got)
	}
	after, err := strconv.Atoi(resp.Header.Get("Retry-After"))
	if resp.StatusCode != status || err != nil || after < 1 || retryAfter != "" && retryAfter != resp.Header.Get("Retry-After") {
		c.Errorf("%s, Retry-After %q, want %d and %s", resp.Status, resp.Header.Get("Retry-After"), status, retryAfter)
	}
}

func (c *caller) ok() {
	c.Helper()
	if status, _ := c.get("/"); status != http.StatusOK {
		c.Errorf("answered %d, want 200; refused are %s", status, c.counts)
	}
}

func TestTheRateOfUnprovedCallersIsOfTheirAddress(t *testing.T) {
	t.Parallel()
	var at clock
	r := start(t, func(c *edge.Config) {
		behindProxies(c)
		c.Now = at.now
		c.Limits.UnprovedRate = edge.Rate{PerSecond: 0.1, Burst: 3}
	})
	vouched := r.proved("127.0.0.2") // takes one
	c := r.caller("127.0.0.2")
	c.ok()
	c.ok()
	c.refusedWith(http.StatusTooManyRequests, "10")
	r.caller("127.0.0.2").refusedWith(http.StatusTooManyRequests, "10") // with another key
	r.caller("127.0.0.3").ok()
	for range 5 {
		vouched.ok()
	}
	at.advance(10 * time.Second)
	c.ok()
	c.refusedWith(http.StatusTooManyRequests, "10")
	r.only(edge.KindUnprovedRate, 3)

	for i := range 3 {
		r.caller(proxy, header(t, fmt.Sprintf("[2001:db8::%d]:1", i), nil)...).ok()
	}
	r.caller(proxy, header(t, "[2001:db8::ffff:1]:1", nil)...).refusedWith(http.StatusTooManyRequests, "10") // the same /64
	r.caller(proxy, header(t, "[2001:db8:0:1::1]:1", nil)...).ok()
	r.only(edge.KindUnprovedRate, 4)
}

func TestARateOfZeroStillAnswers(t *testing.T) {
	t.Parallel()
	r := start(t, func(c *edge.Config) { c.Limits.UnprovedRate = edge.Rate{PerSecond: 0, Burst: 1} })
	c := r.caller("127.0.0.1")
	c.ok()
	c.refusedWith(http.StatusTooManyRequests, "3600")
}

func TestTheRateOfAProvedCallerIsOfItsKey(t *testing.T) {
	t.Parallel()
	var at clock
	r := start(t, func(c *edge.Config) { c.Now, c.Limits.ProvedRate = at.now, edge.Rate{PerSecond: 1, Burst: 2} })
	hostile, other := r.proved("127.0.0.1"), r.proved("127.0.0.1")
	hostile.ok()
	hostile.ok()
	hostile.refusedWith(http.StatusTooManyRequests, "1")
	other.ok()
	if r.only(edge.KindProvedRate, 1); r.counts.ofProved() != 1 {
		t.Error("it counts as unproved")
	}
	at.advance(time.Second)
	hostile.ok()
}

func TestAKeyIsProvedForAsLongAsItIsVouchedFor(t *testing.T) {
	t.Parallel()
	var at clock
	r := start(t, func(c *edge.Config) {
		c.Now, c.Timeouts.Vouched, c.Limits.UnprovedRate = at.now, time.Hour, edge.Rate{PerSecond: 1e-9, Burst: 1}
	})
	c := r.proved("127.0.0.1") // the address may ask no more
	at.advance(59 * time.Minute)
	c.ok() // vouched for again
	at.advance(59 * time.Minute)
	r.enrolled.Delete(c.key())
	c.ok() // not any more
	at.advance(time.Minute)
	c.refusedWith(http.StatusTooManyRequests, "3600")
	r.until("its connection is one of an unproved caller", func() bool { return r.server.Load().UnprovedConnections == 1 })
}

func TestTheKeysVouchedForAreBounded(t *testing.T) {
	t.Parallel()
	r := start(t, func(c *edge.Config) { c.Limits.Keys, c.Limits.UnprovedRate = 2, edge.Rate{PerSecond: 1e-9, Burst: 1} })
	first, second := r.proved("127.0.0.1"), r.proved("127.0.0.2")
	first.ok()
	r.proved("127.0.0.3") // takes the place of the second
	first.ok()
	second.refusedWith(http.StatusTooManyRequests, "3600")
}

func TestAKeyHasAFewRequestsAtOnce(t *testing.T) {
	t.Parallel()
	for name, make := range map[string]func(*rig) *caller{
		"proved":   func(r *rig) *caller { return r.proved("127.0.0.1") },
		"unproved": func(r *rig) *caller { return r.caller("127.0.0.1") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t, func(c *edge.Config) { c.Limits.RequestsPerKey = 2 })
			c := make(r)
			held := []<-chan int{c.hold(), c.hold()}
			c.refusedWith(http.StatusTooManyRequests, "1")
			r.caller("127.0.0.1").ok()
			r.only(edge.KindKeyRequests, 1)
			close(r.release)
			for _, status := range held {
				if got := <-status; got != http.StatusOK {
					t.Errorf("answered %d", got)
				}
			}
			c.ok()
		})
	}
}

func TestUnprovedCallersTakeAShareOfTheRequests(t *testing.T) {
	t.Parallel()
	r := start(t, func(c *edge.Config) { c.Limits.Requests, c.Limits.UnprovedShare = 4, 0.5 })
	late := []*caller{r.proved("127.0.0.1"), r.proved("127.0.0.1"), r.proved("127.0.0.1")}
	var held []<-chan int
	for range 2 {
		held = append(held, r.caller("127.0.0.1").hold())
	}
	r.caller("127.0.0.1").refusedWith(http.StatusServiceUnavailable, "")
	late[0].ok()
	held = append(held, late[0].hold(), late[1].hold())
	if got := (edge.Load{UnprovedConnections: 3, ProvedConnections: 3, UnprovedRequests: 2, ProvedRequests: 2}); r.server.Load() != got {
		t.Errorf("%+v, want %+v", r.server.Load(), got)
	}
	late[2].refusedWith(http.StatusServiceUnavailable, "")
	if got := r.counts.String(); got != `{"requests":1,"unproved_requests":1}` {
		t.Error(got)
	}
	close(r.release)
	for _, status := range held {
		if got := <-status; got != http.StatusOK {
			t.Errorf("answered %d", got)
		}
	}
	r.caller("127.0.0.1").ok()
}

func TestTheCallerWritesTheRefusal(t *testing.T) {
	t.Parallel()
	r := start(t, func(c *edge.Config) {
		c.Limits.UnprovedRate = edge.Rate{PerSecond: 1e-9, Burst: 1}
		c.Refuse = func(w http.ResponseWriter, r *http.Request, refusal edge.Refusal) {
			w.WriteHeader(refusal.Status)
			fmt.Fprintf(w, "%s of %s: %s, %s", r.Method, r.URL.Path, refusal.Kind, refusal.RetryAfter)
		}
	})
	c := r.caller("127.0.0.1")
	c.ok()
	resp, text, err := c.do(http.MethodGet, "/path", "", nil)
	if err != nil || resp.Header.Get("Retry-After") != "3600" || text != "GET of /path: unproved_rate, 1h0m0s" {
		t.Errorf("%v, %q, %v", resp, text, err)
	}
}

func TestAHandlerThatPanicsEndsNothingElse(t *testing.T) {
	t.Parallel()
	r := start(t, func(c *edge.Config) { c.Limits.Requests, c.Limits.RequestsPerKey = 1, 1 })
	c := r.caller("127.0.0.1")
	if _, _, err := c.do(http.MethodGet, "/panic", "", nil); err == nil {
		t.Error("it was answered")
	}
	c.ok()
	r.until("it is logged", func() bool { return strings.Contains(r.logs.String(), "of the handler") })
}
