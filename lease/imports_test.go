package lease_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// rule says which packages, among those that match from and not except, must not import what matches to. A pattern is a
// package, or with /... it and everything below; what starts with it, if it ends with /.
type rule struct {
	name         string
	from, except []string
	to           []string
	through      bool // not even through other packages of the module
}

var (
	all     = []string{"lapse/..."}
	adapter = []string{"lapse/lease/etcd/...", "lapse/lease/ec2/..."}
)

// rules are the directions of DESIGN §11: cmd → janitor → enforce → plan → lease; enforce → audit → lease; metrics → {audit, plan};
// sidecar, lease/etcd, lease/ec2 → lease → standard library.
var rules = []rule{
	{"lease depends on nothing of the module", []string{"lapse/lease"}, nil, all, true},
	{"nobody imports a command", all, []string{"lapse/cmd/..."}, []string{"lapse/cmd/..."}, true},
	{"what is below lease knows no user of it", []string{"lapse/lease/..."}, nil, []string{"lapse/janitor/...", "lapse/sidecar/..."}, true},
	{"the janitor knows no adapter", []string{"lapse/janitor/..."}, nil, adapter, true},
	{
		"the plan imports nothing that can act",
		[]string{"lapse/janitor/plan"},
		nil,
		[]string{"context", "os/...", "net/...", "log/...", "syscall/...", "lapse/janitor"},
		false,
	},
	{"what observes knows nobody that acts", []string{"lapse/janitor/observe"}, nil, []string{"lapse/janitor", "lapse/janitor/enforce", "lapse/janitor/audit"}, true},
	{"the plan knows no other part of the janitor", []string{"lapse/janitor/plan"}, nil, []string{"lapse/janitor/..."}, true},
	{"the audit log depends on lease alone", []string{"lapse/janitor/audit"}, nil, []string{"lapse/janitor/..."}, true},
	{
		"what enforces knows plans and the audit log, and not who leads",
		[]string{"lapse/janitor/enforce"},
		nil,
		[]string{"lapse/janitor", "lapse/janitor/metrics", "lapse/janitor/observe"},
		true,
	},
	{"metrics know nothing that acts", []string{"lapse/janitor/metrics"}, nil, []string{"lapse/janitor", "lapse/janitor/enforce"}, true},
	{"the sidecar knows no adapter", []string{"lapse/sidecar/..."}, nil, adapter, true},
	{"the janitor does not know the sidecar", []string{"lapse/janitor/..."}, nil, []string{"lapse/sidecar/..."}, true},
	{"the sidecar does not know the janitor", []string{"lapse/sidecar/..."}, nil, []string{"lapse/janitor/..."}, true},
	{"etcd does not know EC2", adapter[:1], nil, adapter[1:], true},
	{"EC2 does not know etcd", adapter[1:], nil, adapter[:1], true},
	{"the API knows neither etcd nor EC2", []string{"lapse/lease/api/..."}, nil, adapter, true},
	{"what terminates does not know what launches", []string{"lapse/lease/ec2"}, nil, []string{"lapse/lease/ec2/launch"}, true},
	{
		"only lease/ec2 talks to AWS services",
		all,
		[]string{"lapse/lease/ec2", "lapse/lease/ec2/launch"},
		[]string{"github.com/aws/aws-sdk-go-v2/service/"},
		false,
	},
	{
		"only lease/ec2 knows the AWS SDK, but for the sidecar's way to IMDS and the wiring",
		all,
		[]string{"lapse/lease/ec2", "lapse/lease/ec2/launch", "lapse/lease/ec2/ec2test", "lapse/sidecar/imds", "lapse/cmd/..."},
		[]string{"github.com/aws/"},
		false,
	},
	{"only lease/etcd knows etcd's client", all, adapter[:1], []string{"go.etcd.io/etcd/client/"}, false},
	{"no program knows the etcd of the simulations", []string{"lapse/cmd/..."}, nil, []string{"lapse/lease/etcd/etcdsim"}, true},
	{
		"only lease/etcd/embedded knows etcd's server",
		all,
		[]string{"lapse/lease/etcd/embedded/..."},
		[]string{"go.etcd.io/etcd/server/"},
		false,
	},
}

func matches(pkg string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		if below, ok := strings.CutSuffix(p, "/..."); ok {
			return pkg == below || strings.HasPrefix(pkg, below+"/")
		}
		return pkg == p || strings.HasSuffix(p, "/") && strings.HasPrefix(pkg, p)
	})
}

// broken lists how the imports, by package, break the rule.
func (r rule) broken(imports map[string][]string) (found []string) {
	for pkg := range imports {
		if !matches(pkg, r.from) || matches(pkg, r.except) {
			continue
		}
		reached := imports[pkg]
		if r.through {
			reached = reach(pkg, imports)
		}
		for _, to := range reached {
			if to != pkg && matches(to, r.to) {
				found = append(found, pkg+" imports "+to)
			}
		}
	}
	slices.Sort(found)
	return found
}

// reach lists what pkg imports, itself or through others.
func reach(pkg string, imports map[string][]string) (all []string) {
	for todo := slices.Clone(imports[pkg]); len(todo) > 0; {
		next := todo[len(todo)-1]
		if todo = todo[:len(todo)-1]; slices.Contains(all, next) {
			continue
		}
		all = append(all, next)
		if strings.HasPrefix(next, "lapse/") {
			todo = append(todo, imports[next]...)
		}
	}
	return all
}

func TestImportsPointOneWay(t *testing.T) {
	t.Parallel()
	// Without -test: tests may import what they like. With -e: a package that does not build yet is another test's worry.
	list := exec.CommandContext(t.Context(), "go", "list", "-C", "..", "-e", "-buildvcs=false", "-deps",
		"-f", `{{.ImportPath}} {{.Standard}} {{join .Imports " "}}`, "./...")
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	imports, standard := map[string][]string{}, map[string]bool{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		imports[fields[0]], standard[fields[0]] = fields[2:], fields[1] == "true"
	}
	for pkg := range imports {
		if pkg != "lapse" && !strings.HasPrefix(pkg, "lapse/") {
			delete(imports, pkg)
		}
	}
	if len(imports["lapse/lease"]) == 0 {
		t.Fatal("go list does not know lapse/lease")
	}
	for _, to := range imports["lapse/lease"] {
		if !standard[to] {
			t.Errorf("lease depends on the standard library alone: it imports %s", to)
		}
	}
	for _, r := range rules {
		for _, how := range r.broken(imports) {
			t.Errorf("%s: %s", r.name, how)
		}
	}
}

func TestEachImportRuleDetectsAViolation(t *testing.T) {
	t.Parallel()
	const service = "github.com/aws/aws-sdk-go-v2/service/ec2"
	for name, imports := range map[string]map[string][]string{
		"lease depends on nothing of the module":      {"lapse/lease": {"fmt", "lapse/internal"}},
		"nobody imports a command":                    {"lapse/janitor": {"lapse/cmd/internal/flags"}},
		"what is below lease knows no user of it":     {"lapse/lease/leasetest": {"lapse/janitor"}},
		"the janitor knows no adapter":                {"lapse/janitor/service": {"lapse/x"}, "lapse/x": {"lapse/lease/etcd"}},
		"the plan imports nothing that can act":       {"lapse/janitor/plan": {"log/slog"}},
		"what observes knows nobody that acts":        {"lapse/janitor/observe": {"lapse/janitor"}},
		"the plan knows no other part of the janitor": {"lapse/janitor/plan": {"lapse/janitor/audit"}},
		"the audit log depends on lease alone":        {"lapse/janitor/audit": {"lapse/janitor/plan"}},
		"what enforces knows plans and the audit log, and not who leads": {
			"lapse/janitor/enforce": {"lapse/janitor/plan", "lapse/janitor"},
		},
		"metrics know nothing that acts":               {"lapse/janitor/metrics": {"lapse/x"}, "lapse/x": {"lapse/janitor"}},
		"the sidecar knows no adapter":                 {"lapse/sidecar": {"lapse/lease/ec2/ec2sim"}},
		"the janitor does not know the sidecar":        {"lapse/janitor": {"lapse/sidecar"}},
		"the sidecar does not know the janitor":        {"lapse/sidecar/imds": {"lapse/janitor"}},
		"etcd does not know EC2":                       {"lapse/lease/etcd/embedded": {"lapse/lease/ec2"}},
		"EC2 does not know etcd":                       {"lapse/lease/ec2": {"lapse/lease/etcd"}},
		"what terminates does not know what launches":  {"lapse/lease/ec2": {"lapse/lease/ec2/launch"}},
		"only lease/ec2 talks to AWS services":         {"lapse/lease/ec2/ec2sim": {service}},
		"only lease/etcd knows etcd's client":          {"lapse/cmd/janitor": {"go.etcd.io/etcd/client/v3"}},
		"no program knows the etcd of the simulations": {"lapse/cmd/janitor": {"lapse/lease/etcd/etcdsim"}},
		"only lease/etcd/embedded knows etcd's server": {"lapse/lease/etcd": {"go.etcd.io/etcd/server/v3/embed"}},
		"only lease/ec2 knows the AWS SDK, but for the sidecar's way to IMDS and the wiring": {
			"lapse/sidecar": {"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"},
		},
	} {
		i := slices.IndexFunc(rules, func(r rule) bool { return r.name == name })
		if i < 0 {
			t.Errorf("there is no rule %q", name)
		} else if len(rules[i].broken(imports)) == 0 {
			t.Errorf("%q is not broken by %v", name, imports)
		}
	}
	good := map[string][]string{
		"lapse/cmd/janitor":         {"lapse/cmd/internal", "lapse/janitor", "lapse/lease/etcd", "lapse/lease/etcd/embedded", "lapse/lease/ec2"},
		"lapse/janitor/plan":        {"lapse/lease", "time"},
		"lapse/janitor/audit":       {"lapse/lease", "os"},
		"lapse/janitor/enforce":     {"lapse/janitor/audit", "lapse/janitor/plan", "lapse/lease"},
		"lapse/janitor/metrics":     {"lapse/janitor/audit", "lapse/janitor/plan", "lapse/lease"},
		"lapse/janitor":             {"lapse/lease", "context", "lapse/janitor/audit", "lapse/janitor/enforce", "lapse/janitor/plan", "github.com/robfig/cron/v3"},
		"lapse/sidecar":             {"lapse/lease", "lapse/sidecar/imds"},
		"lapse/sidecar/imds":        {"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"},
		"lapse/lease/ec2":           {"lapse/lease", service},
		"lapse/lease/ec2/launch":    {"lapse/lease", "lapse/lease/ec2", service},
		"lapse/lease/etcd":          {"lapse/lease", "go.etcd.io/etcd/client/v3"},
		"lapse/lease/etcd/etcdsim":  {"go.etcd.io/etcd/client/v3"},
		"lapse/lease/etcd/embedded": {"go.etcd.io/etcd/server/v3/embed"},
	}
	for _, r := range rules {
		if how := r.broken(good); len(how) > 0 {
			t.Errorf("%s is broken by what is right: %v", r.name, how)
		}
	}
}
