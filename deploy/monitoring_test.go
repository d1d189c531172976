// Package deploy_test checks that what is deployed beside the commands agrees with them and with itself: metrics,
// alerts, their tests, the dashboard and the page that explains them.
package deploy_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

const (
	page      = "README.md"
	rules     = "prometheus/lapse.rules.yml"
	ruleTests = "prometheus/lapse.test.yml"
	dashboard = "grafana/lapse.json"
)

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func decode(t *testing.T, name string, into any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(read(t, name)), into); err != nil { // JSON is YAML
		t.Fatalf("%s: %v", name, err)
	}
}

type alert struct {
	Alert, Expr         string
	Labels, Annotations map[string]string
}

func alerts(t *testing.T) []alert {
	t.Helper()
	var file struct{ Groups []struct{ Rules []alert } }
	decode(t, rules, &file)
	var all []alert
	for _, group := range file.Groups {
		all = append(all, group.Rules...)
	}
	if len(all) < 10 {
		t.Fatalf("only %d alerts in %s", len(all), rules)
	}
	return all
}

func TestEveryAlertSaysWhatToDoAndIsTried(t *testing.T) {
	var tests struct{ Tests []struct{ Name string } }
	decode(t, ruleTests, &tests)
	tried := func(what string) bool {
		return slices.ContainsFunc(tests.Tests, func(test struct{ Name string }) bool { return strings.HasPrefix(test.Name, what) })
	}
	explained := read(t, page)
	for _, a := range alerts(t) {
		if !slices.Contains([]string{"critical", "warning", "info"}, a.Labels["severity"]) {
			t.Errorf("%s: severity %q", a.Alert, a.Labels["severity"])
		}
		if a.Annotations["summary"] == "" || a.Annotations["description"] == "" {
			t.Errorf("%s has no summary, or no description", a.Alert)
		}
		if !tried(a.Alert+" fires") || !tried(a.Alert+" is quiet") {
			t.Errorf("%s: want a test in %s in which it fires, and one in which it is quiet", a.Alert, ruleTests)
		}
		if !strings.Contains(explained, "\n| `"+a.Alert+"` |") {
			t.Errorf("%s is not explained in %s", a.Alert, page)
		}
	}
}

// TestAlertsFireAsTheirTestsSay runs the tests of the alerts.
func TestAlertsFireAsTheirTestsSay(t *testing.T) { promtool(t, "", "test", "rules", ruleTests) }

type panel struct {
	ID          int
	Type, Title string
	Repeat      string
	Datasource  map[string]string
	GridPos     struct{ X, Y, W, H int }
	Targets     []struct {
		RefID, Expr string
		Datasource  map[string]string
	}
}

func panels(t *testing.T) []panel {
	t.Helper()
	var file struct{ Panels []panel }
	if err := json.Unmarshal([]byte(read(t, dashboard)), &file); err != nil {
		t.Fatalf("%s: %v", dashboard, err)
	}
	if len(file.Panels) < 10 {
		t.Fatalf("only %d panels in %s", len(file.Panels), dashboard)
	}
	return file.Panels
}

func TestDashboardIsWhatGrafanaTakes(t *testing.T) {
	ids, taken := map[int]string{}, map[[2]int]string{}
	for _, p := range panels(t) {
		if other, twice := ids[p.ID]; twice || p.ID == 0 {
			t.Errorf("%s: panel id %d, which %q has too", p.Title, p.ID, other)
		}
		ids[p.ID] = p.Title
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("%s overlaps %q, or the edge, at %d,%d", p.Title, other, x, y)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.Type != "row" && (len(p.Targets) == 0 || p.Datasource["uid"] != "${datasource}") {
			t.Errorf("%s: want an expression, and the data source as a variable", p.Title)
		}
		refs := map[string]bool{}
		for _, target := range p.Targets {
			if refs[target.RefID] || target.Datasource["uid"] != "${datasource}" || !strings.Contains(target.Expr, `job=~"$job"`) {
				t.Errorf("%s, %s: want a name of its own, the data source and the job as variables", p.Title, target.RefID)
			}
			refs[target.RefID] = true
		}
	}
}

// TestDashboardKeepsRegistriesApart: two of them have a leader each, and their leases are not one fleet.
func TestDashboardKeepsRegistriesApart(t *testing.T) {
	aggregation := regexp.MustCompile(`\b(sum|max|min|count|avg)\b( by \(job[,)])?`)
	for _, p := range panels(t) {
		if p.Type == "row" && (p.Repeat != "job" || !strings.Contains(p.Title, "$job")) {
			t.Errorf("%s: want one such row for each job", p.Title)
		}
		for _, target := range p.Targets {
			for _, found := range aggregation.FindAllStringSubmatch(target.Expr, -1) {
				if found[2] == "" {
					t.Errorf("%s adds up several registries: %s", p.Title, target.Expr)
				}
			}
		}
	}
}

// TestDashboardsExpressionsAreParsed makes a rule of each, since promtool reads rules.
func TestDashboardsExpressionsAreParsed(t *testing.T) {
	var file strings.Builder
	file.WriteString("groups:\n- name: dashboard\n  rules:\n")
	for _, p := range panels(t) {
		for _, target := range p.Targets {
			expr := strings.NewReplacer("$__rate_interval", "5m", "$job", "lapse").Replace(target.Expr)
			if strings.Contains(expr, "$") {
				t.Errorf("%s: unknown variable in %s", p.Title, target.Expr)
			}
			fmt.Fprintf(&file, "  - {record: 'panel:%d:%s', expr: %q}\n", p.ID, target.RefID, expr)
		}
	}
	name := filepath.Join(t.TempDir(), "rules.yml")
	if err := os.WriteFile(name, []byte(file.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "", "check", "rules", name)
}

// promtool gives text to Prometheus's own tool, which must be content with it.
func promtool(t *testing.T, text string, args ...string) {
	t.Helper()
	tool, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("promtool is missing (on Debian: apt-get install prometheus)")
		}
		t.Skip("NOT CHECKED: promtool is missing (on Debian: apt-get install prometheus)")
	}
	c := exec.CommandContext(t.Context(), tool, args...)
	c.Stdin = strings.NewReader(text)
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}
