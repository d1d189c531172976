package ec2_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"lapse/lease"
	"lapse/lease/ec2"
	"lapse/lease/ec2/ec2sim"
)

// answers are those to each action.
func answers(all []ec2.Rehearsed) map[string]ec2.Answer {
	found := map[string]ec2.Answer{}
	for _, r := range all {
		found[r.Action] = r.Answer
	}
	return found
}

func TestARehearsalDoesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	id := w.herd(1)[0]
	cloud := w.cloud(t, w.aws(), ec2.Options{})
	stage, err := cloud.Stage(t.Context(), uuid)
	if err != nil || stage.Instance != id || stage.ImageID == "" {
		t.Fatalf("%+v, %v", stage, err)
	}
	all := cloud.Rehearse(t.Context(), stage)
	for action, answer := range answers(all) {
		if answer != ec2.AnswerAllowed {
			t.Errorf("%s is %s", action, answer)
		}
	}
	for _, role := range ec2.Roles() {
		if refused, unclear := role.Lacks(all); len(refused)+len(unclear) > 0 {
			t.Errorf("%s: refused %+v, unclear %+v", role, refused, unclear)
		}
	}
	i, _ := w.sim.Instance(id)
	if len(w.sim.Instances()) != 1 || i.State != ec2sim.Running || i.Tags[lease.TagRegistry] != uuid {
		t.Errorf("%+v", w.sim.Instances())
	}
}

func TestARoleLacksWhatEC2Refuses(t *testing.T) {
	t.Parallel()
	for action, want := range map[string][]ec2.Role{
		"TerminateInstances": {ec2.RoleJanitor},
		"RunInstances":       {ec2.RoleLauncher},
		"CreateTags":         {ec2.RoleOperator},
		"DescribeVolumes":    {ec2.RoleJanitor, ec2.RoleObserver},
	} {
		w := newWorld(t, ec2sim.Config{})
		w.herd(1)
		cloud := w.cloud(t, w.aws(), ec2.Options{})
		stage, err := cloud.Stage(t.Context(), uuid)
		if err != nil {
			t.Fatal(err)
		}
		w.sim.Inject(ec2sim.Fault{Action: action, Effect: ec2sim.Refuse, Code: "UnauthorizedOperation"})
		all := cloud.Rehearse(t.Context(), stage)
		for _, role := range ec2.Roles() {
			refused, _ := role.Lacks(all)
			if slices.Contains(want, role) != (len(refused) == 1 && refused[0].Action == action) {
				t.Errorf("%s refused: %s lacks %+v", action, role, refused)
			}
		}
	}
}

func TestWhatThereIsNothingToRehearseOnIsUnclear(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	foreign := w.sim.Create(ec2sim.Instance{Tags: map[string]string{lease.TagRegistry: "other"}})
	exempt := w.sim.Create(ec2sim.Instance{Tags: map[string]string{lease.TagRegistry: uuid, lease.TagExempt: ""}})
	cloud := w.cloud(t, w.aws(), ec2.Options{})
	stage, err := cloud.Stage(t.Context(), uuid)
	if err != nil || stage.Instance != "" {
		t.Fatalf("%+v, %v; foreign %s, exempt %s", stage, err, foreign.ID, exempt.ID)
	}
	got := answers(cloud.Rehearse(t.Context(), stage))
	for _, action := range []string{"TerminateInstances", "CreateTags", "DeleteTags", "RunInstances"} {
		if got[action] != ec2.AnswerUnclear || w.sent(action) > 0 {
			t.Errorf("%s is %s, sent %d times", action, got[action], w.sent(action))
		}
	}
}

// An endpoint that resembles EC2 and does what it is asked, DryRun or not.
func TestAnEndpointThatIgnoresDryRunIsAskedForNothingThatHurts(t *testing.T) {
	t.Parallel()
	for name, honoured := range map[string]string{"everywhere": "none", "for changes": "Describe"} {
		w := newWorld(t, ec2sim.Config{})
		id := w.herd(1)[0]
		deaf := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if err := r.ParseForm(); err != nil {
				t.Error(err)
			}
			form := r.PostForm
			if !strings.HasPrefix(form.Get("Action"), honoured) {
				form.Del("DryRun")
			}
			again, err := http.NewRequestWithContext(r.Context(), r.Method, "/", strings.NewReader(form.Encode()))
			if err != nil {
				t.Error(err)
			}
			again.Header = r.Header
			w.sim.ServeHTTP(rw, again)
		}))
		t.Cleanup(deaf.Close)
		cfg := w.aws()
		cfg.BaseEndpoint = &deaf.URL
		cloud := w.cloud(t, cfg, ec2.Options{})
		stage, err := cloud.Stage(t.Context(), uuid)
		if err != nil {
			t.Fatal(err)
		}
		got := answers(cloud.Rehearse(t.Context(), stage))
		for _, action := range []string{"TerminateInstances", "CreateTags", "DeleteTags", "RunInstances"} {
			if got[action] != ec2.AnswerUnclear || action != "CreateTags" && w.sent(action) > 0 {
				t.Errorf("%s: %s is %s, sent %d times", name, action, got[action], w.sent(action))
			}
		}
		if i, _ := w.sim.Instance(id); i.State != ec2sim.Running || i.Tags[lease.TagRegistry] != uuid {
			t.Errorf("%s: %+v", name, i)
		}
	}
}

func TestEveryRolesPolicyGrantsWhatItNeeds(t *testing.T) {
	t.Parallel()
	for _, role := range ec2.Roles() {
		policy, err := os.ReadFile("../../deploy/iam/" + string(role) + ".json")
		if err != nil {
			t.Fatal(err)
		}
		for _, action := range role.Needs() {
			if !strings.Contains(string(policy), `"ec2:`+action+`"`) {
				t.Errorf("deploy/iam/%s.json does not grant ec2:%s", role, action)
			}
		}
	}
}
