package deploy_test

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"lapse/janitor/audit"
	"lapse/janitor/metrics"
	"lapse/janitor/plan"
	"lapse/lease"
)

// scraped is what a janitor shows to which everything has happened that it counts.
func scraped(t *testing.T) string {
	t.Helper()
	location := lease.Location{Account: "123456789012", Region: "eu-west-1"}
	e := metrics.New("v1", time.Now)
	e.Led("this one")
	e.API().Refused("unproved")
	e.Checkpoint(lease.Checkpoint{Sequence: 1, Time: time.Now(), NextSweep: time.Now().Add(time.Minute)})
	e.Swept(time.Second, nil)
	e.Called(location, "DescribeInstances", "OK", time.Second)
	e.Happened(audit.Event{
		Kind: lease.ActionTerminate, Cause: lease.CauseExpired, Own: true, Time: time.Now(), Evidence: audit.Evidence{Due: time.Now()},
	})
	e.Counted(plan.Census{
		Mode: lease.ModeArmed, Locations: map[lease.Location]plan.LocationCensus{location: {Listed: true}}, Lost: map[string]int{"use1-az1": 1},
		Brakes: []lease.Brake{{Name: lease.BrakeRollback}},
	})
	answer := httptest.NewRecorder()
	e.Handler().ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", http.NoBody))
	return answer.Body.String()
}

// exported are the names of these metrics, with the labels of each.
func exported(t *testing.T) map[string][]string {
	t.Helper()
	text := scraped(t)
	all := map[string][]string{}
	for _, kind := range regexp.MustCompile(`(?m)^# TYPE (lapse_\w+) (\w+)$`).FindAllStringSubmatch(text, -1) {
		sample := regexp.MustCompile(`(?m)^` + kind[1] + `(?:_bucket)?(?:\{(.*)\})? `).FindStringSubmatch(text)
		if sample == nil {
			t.Fatalf("no sample of %s", kind[1])
		}
		all[kind[1]] = labelNames(sample[1])
	}
	if len(all) < 20 {
		t.Fatalf("only %d metrics: %v", len(all), all)
	}
	return all
}

// labelNames are those in the braces of a sample, but le, which is a histogram's own.
func labelNames(braces string) []string {
	names := []string{}
	for _, label := range regexp.MustCompile(`(\w+)="`).FindAllStringSubmatch(braces, -1) {
		if label[1] != "le" {
			names = append(names, label[1])
		}
	}
	slices.Sort(names)
	return names
}

// metricNames finds names of metrics; what a histogram's series add is not part of them.
func metricNames(text string) []string {
	var names []string
	for _, name := range regexp.MustCompile(`\blapse_[a-z0-9_]*[a-z0-9]\b`).FindAllString(text, -1) {
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			name = strings.TrimSuffix(name, suffix)
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func TestMetricNamesFollowTheConventions(t *testing.T) { promtool(t, scraped(t), "check", "metrics") }

func TestMetricsOfAlertsAndDashboardAreExported(t *testing.T) {
	all := exported(t)
	used := map[string]bool{}
	for _, file := range []string{rules, ruleTests, dashboard, page} {
		for _, name := range metricNames(read(t, file)) {
			if _, is := all[name]; !is {
				t.Errorf("%s speaks of %s, which no janitor exports", file, name)
			}
			used[name] = used[name] || file == rules || file == dashboard
		}
	}
	for name := range all {
		if !used[name] {
			t.Errorf("%s is exported, and neither alerts nor dashboard look at it", name)
		}
	}
}

func TestPageNamesEveryMetricWithItsLabels(t *testing.T) {
	documented := map[string][]string{}
	for line := range strings.Lines(read(t, page)) {
		cell, is := strings.CutPrefix(line, "| `lapse_")
		if !is {
			continue
		}
		cell, _, _ = strings.Cut(cell, " | ")
		for _, metric := range regexp.MustCompile(`(lapse_\w+)(?:\{([\w,]*)\})?`).FindAllStringSubmatch("lapse_"+cell, -1) {
			labels := strings.FieldsFunc(metric[2], func(r rune) bool { return r == ',' })
			slices.Sort(labels)
			documented[metric[1]] = labels
		}
	}
	for name, labels := range exported(t) {
		if got, is := documented[name]; !is || !slices.Equal(got, labels) {
			t.Errorf("the page has %s%v, the janitor %v", name, got, labels)
		}
		delete(documented, name)
	}
	if len(documented) > 0 {
		t.Errorf("the page has metrics that no janitor exports: %v", documented)
	}
}

// TestPageExplainsEveryReasonForWhichAnInstanceIsOverdue, and each has raised its alert.
func TestPageExplainsEveryReasonForWhichAnInstanceIsOverdue(t *testing.T) {
	explained, tried, shown := read(t, page), read(t, ruleTests), scraped(t)
	for _, reason := range lease.KeptReasons() {
		if !regexp.MustCompile("(?m)^\\| (`\\w+`, )?`" + string(reason) + "`(, `\\w+`)? \\|").MatchString(explained) {
			t.Errorf("%s does not explain the reason %s", page, reason)
		}
		if !strings.Contains(tried, `alertstate="firing",job="lapse",reason="`+string(reason)+`"`) {
			t.Errorf("in %s, no alert fires for the reason %s", ruleTests, reason)
		}
		if !strings.Contains(shown, `lapse_overdue_instances{reason="`+string(reason)+`"} 0`) {
			t.Errorf("no metric of the reason %s while there is none", reason)
		}
	}
}
