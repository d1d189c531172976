package ec2_test

import (
	"cmp"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"lapse/lease"
	"lapse/lease/ec2"
	"lapse/lease/ec2/ec2sim"
	"lapse/lease/ec2/ec2test"
	"lapse/lease/ec2/launch"
)

// Needs that name a tag.
const (
	setRegistry  = "CreateTags of lapse:registry"
	setExpires   = "CreateTags of lapse:expires"
	dropRegistry = "DeleteTags of lapse:registry"
)

// verb is the action of a need.
func verb(need string) string {
	action, _, _ := strings.Cut(need, " ")
	return action
}

// ended makes an instance of ours that has ended and is still described.
func (w world) ended() string {
	return w.Sim.Create(ec2sim.Instance{State: ec2sim.Terminated, Tags: map[string]string{lease.TagRegistry: ec2test.UUID, expires: "none 7"}}).ID
}

// answers are those to each action.
func answers(all []ec2.Rehearsed) map[string]ec2.Answer {
	found := map[string]ec2.Answer{}
	for _, r := range all {
		found[r.Need.String()] = r.Answer
	}
	return found
}

// rehearse rehearses a launch, too.
func rehearse(t *testing.T, cloud *ec2.Cloud, stage ec2.Rehearsal, roles ...ec2.Role) []ec2.Rehearsed {
	t.Helper()
	var err error
	if stage.Launch, err = launch.Sample(stage); err != nil {
		t.Fatal(err)
	}
	return cloud.Rehearse(t.Context(), stage, roles...)
}

func TestARehearsalDoesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	id, ended := w.herd(1)[0], w.ended()
	cloud := w.Cloud(t, w.AWS(), ec2.Options{})
	stage, err := cloud.Stage(t.Context(), ec2test.UUID)
	if err != nil || stage.Ended != ended || stage.ImageID == "" {
		t.Fatalf("%+v, %v", stage, err)
	}
	all := rehearse(t, cloud, stage)
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
	i, _ := w.Sim.Instance(id)
	if len(w.Sim.Instances()) != 2 || i.State != ec2sim.Running || i.Tags[lease.TagRegistry] != ec2test.UUID {
		t.Errorf("%+v", w.Sim.Instances())
	}
}

func TestARoleLacksWhatEC2Refuses(t *testing.T) {
	t.Parallel()
	for action, want := range map[string][]ec2.Role{
		"TerminateInstances": {ec2.RoleJanitor},
		"RunInstances":       {ec2.RoleLauncher},
		"CreateTags":         {ec2.RoleJanitor, ec2.RoleOperator},
		"DescribeVolumes":    {ec2.RoleJanitor, ec2.RoleObserver},
	} {
		w := newWorld(t, ec2sim.Config{})
		w.ended()
		cloud := w.Cloud(t, w.AWS(), ec2.Options{})
		stage, err := cloud.Stage(t.Context(), ec2test.UUID)
		if err != nil {
			t.Fatal(err)
		}
		w.Sim.Inject(ec2sim.Fault{Action: action, Effect: ec2sim.Refuse, Code: "UnauthorizedOperation"})
		all := rehearse(t, cloud, stage)
		for _, role := range ec2.Roles() {
			refused, _ := role.Lacks(all)
			if slices.Contains(want, role) != (len(refused) == 1 && refused[0].Need.Action == action) {
				t.Errorf("%s refused: %s lacks %+v", action, role, refused)
			}
		}
	}
}

func TestARehearsalWithoutAnInstanceIsUnclear(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	ended := ec2sim.Instance{State: ec2sim.Terminated, Tags: map[string]string{lease.TagRegistry: "other"}}
	foreign := w.Sim.Create(ended)
	ended.Tags = map[string]string{lease.TagRegistry: ec2test.UUID, lease.TagExempt: ""}
	exempt := w.Sim.Create(ended)
	living := w.herd(1)[0]
	cloud := w.Cloud(t, w.AWS(), ec2.Options{})
	stage, err := cloud.Stage(t.Context(), ec2test.UUID)
	if err != nil || stage.Ended != "" {
		t.Fatalf("%+v, %v; foreign %s, exempt %s, living %s", stage, err, foreign.ID, exempt.ID, living)
	}
	stage.ImageID = ""
	got := answers(rehearse(t, cloud, stage))
	for _, action := range []string{"TerminateInstances", setRegistry, setExpires, dropRegistry, "RunInstances"} {
		if got[action] != ec2.AnswerUnclear || w.Sent(verb(action)) > 0 {
			t.Errorf("%s is %s, sent %d times", action, got[action], w.Sent(verb(action)))
		}
	}
}

// What EC2 says of an ended instance may be no answer to the question.
func TestARefusalForAnotherReasonIsUnclear(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"IncorrectInstanceState", "InvalidInstanceID.NotFound", "InvalidID"} {
		w := newWorld(t, ec2sim.Config{})
		w.ended()
		cloud := w.Cloud(t, w.AWS(), ec2.Options{})
		stage, err := cloud.Stage(t.Context(), ec2test.UUID)
		if err != nil {
			t.Fatal(err)
		}
		w.Sim.Inject(ec2sim.Fault{Action: "TerminateInstances", Effect: ec2sim.Refuse, Code: code})
		refused, unclear := ec2.RoleJanitor.Lacks(rehearse(t, cloud, stage))
		if len(refused) != 0 || len(unclear) != 1 || unclear[0].Code != code {
			t.Errorf("%s: refused %+v, unclear %+v", code, refused, unclear)
		}
	}
}

// resembling is an endpoint that does what EC2 does, but for what is changed in the parameters that it gets.
func (w world) resembling(t *testing.T, change func(url.Values)) *ec2.Cloud {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		change(r.PostForm)
		again, err := http.NewRequestWithContext(r.Context(), r.Method, "/", strings.NewReader(r.PostForm.Encode()))
		if err != nil {
			t.Error(err)
		}
		again.Header = r.Header
		w.Sim.ServeHTTP(rw, again)
	}))
	t.Cleanup(server.Close)
	cfg := w.AWS()
	cfg.BaseEndpoint = &server.URL
	return w.Cloud(t, cfg, ec2.Options{})
}

// unheeded drops DryRun from the calls of an action, of all that begin so, or of all.
func unheeded(action string) func(url.Values) {
	return func(form url.Values) {
		if strings.HasPrefix(form.Get("Action"), action) {
			form.Del("DryRun")
		}
	}
}

func TestAnEndpointThatIgnoresDryRunHarmsNoRunningInstance(t *testing.T) {
	t.Parallel()
	for ignored, want := range map[string][]string{ // by which no call after it is sent
		"":                   nil,
		"CreateTags":         {"CreateTags"},
		"DeleteTags":         {"CreateTags", "DeleteTags"},
		"TerminateInstances": {"CreateTags", "DeleteTags", "TerminateInstances"},
	} {
		w := newWorld(t, ec2sim.Config{})
		living, ended := w.herd(3), w.ended()
		cloud := w.resembling(t, unheeded(ignored))
		stage, err := cloud.Stage(t.Context(), ec2test.UUID)
		if err != nil || stage.Ended != ended {
			t.Fatalf("%+v, %v", stage, err)
		}
		got := answers(rehearse(t, cloud, stage))
		for _, action := range []string{"CreateTags", "DeleteTags", "TerminateInstances", "RunInstances"} {
			if sent := w.Sent(action) > 0; sent != slices.Contains(want, action) {
				t.Errorf("%q ignored: %s sent: %v", ignored, action, sent)
			}
			if name := map[string]string{"CreateTags": setRegistry, "DeleteTags": dropRegistry}[action]; action == ignored && got[cmp.Or(name, action)] != ec2.AnswerUnclear {
				t.Errorf("%q ignored: it is %s", ignored, got[cmp.Or(name, action)])
			}
		}
		w.unhurt(t, living)
	}
}

// unhurt checks that instances run and are ours, and that there are no others but the ended.
func (w world) unhurt(t *testing.T, living []string) {
	t.Helper()
	running := 0
	for _, i := range w.Sim.Instances() {
		if i.State == ec2sim.Terminated {
			continue
		}
		running++
		if i.State != ec2sim.Running || i.Tags[lease.TagRegistry] != ec2test.UUID || !slices.Contains(living, i.ID) {
			t.Errorf("%+v", i)
		}
	}
	if running != len(living) {
		t.Errorf("%d run, want %d", running, len(living))
	}
}

// Where nothing has ended yet, nothing is tried but a launch.
func TestNothingIsRehearsedOnRunningInstances(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	living := w.herd(3)
	unfiltered := func(form url.Values) { // this endpoint ignores filters, too
		unheeded("TerminateInstances")(form)
		for name := range form {
			if strings.HasPrefix(name, "Filter.") {
				form.Del(name)
			}
		}
	}
	cloud := w.resembling(t, unfiltered)
	stage, err := cloud.Stage(t.Context(), ec2test.UUID)
	if err != nil || stage.Ended != "" || stage.ImageID == "" {
		t.Fatalf("%+v, %v", stage, err)
	}
	got := answers(rehearse(t, cloud, stage))
	for _, action := range []string{setRegistry, setExpires, dropRegistry, "TerminateInstances"} {
		if got[action] != ec2.AnswerUnclear || w.Sent(verb(action)) > 0 {
			t.Errorf("%s is %s, sent %d times", action, got[action], w.Sent(verb(action)))
		}
	}
	if got["RunInstances"] != ec2.AnswerAllowed {
		t.Errorf("RunInstances is %s", got["RunInstances"])
	}
	w.unhurt(t, living)
}

func TestInstancesCreatedByARehearsalAreReported(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	cloud := w.resembling(t, unheeded("RunInstances"))
	all := rehearse(t, cloud, ec2.Rehearsal{Registry: ec2test.UUID, ImageID: ec2test.Image, InstanceType: "t3.micro"})
	launch := all[len(all)-1]
	if launch.Need.Action != "RunInstances" || launch.Answer != ec2.AnswerUnclear || len(launch.Made) != 1 || launch.Made[0] != w.Sim.Instances()[0].ID {
		t.Errorf("%+v", launch)
	}
}

func TestEveryRolesPolicyGrantsWhatItNeeds(t *testing.T) {
	t.Parallel()
	for _, role := range ec2.Roles() {
		policy, err := os.ReadFile("../../deploy/iam/" + string(role) + ".json")
		if err != nil {
			t.Fatal(err)
		}
		for _, need := range role.Needs() {
			if !strings.Contains(string(policy), `"ec2:`+need.Action+`"`) || !strings.Contains(string(policy), need.Tag) {
				t.Errorf("deploy/iam/%s.json does not grant ec2:%s", role, need)
			}
		}
	}
}

// The janitor's tag is rehearsed with the value that an ended instance bears already, and apart from the operator's: their
// policies look at the key.
func TestTheSecondKeyIsRehearsedByItself(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	plain := map[string]string{lease.TagRegistry: ec2test.UUID}
	w.Sim.Create(ec2sim.Instance{State: ec2sim.Terminated, Tags: plain})
	cloud := w.Cloud(t, w.AWS(), ec2.Options{})
	stage, err := cloud.Stage(t.Context(), ec2test.UUID)
	if err != nil || stage.Ended == "" || stage.Expires != "" {
		t.Fatalf("%+v, %v", stage, err)
	}
	if got := answers(rehearse(t, cloud, stage)); got[setExpires] != ec2.AnswerUnclear || got[setRegistry] != ec2.AnswerAllowed {
		t.Errorf("without a value that is there: %v", got)
	}
	keyed := w.ended()
	w.Sim.Create(ec2sim.Instance{State: ec2sim.Terminated, Tags: plain})
	if stage, err = cloud.Stage(t.Context(), ec2test.UUID); err != nil || stage.Ended != keyed || stage.Expires != "none 7" {
		t.Fatalf("%+v, %v", stage, err)
	}
	w.Sim.LetTag(func(_, set map[string]string) bool { return len(set) == 1 && set[expires] == "none 7" }) // the janitor's policy
	refused, _ := ec2.RoleOperator.Lacks(rehearse(t, cloud, stage))
	if len(refused) != 1 || refused[0].Need.String() != setRegistry {
		t.Errorf("as operator: %+v", refused)
	}
	before := w.Sent("RunInstances") + w.Sent("DeleteTags")
	all := rehearse(t, cloud, stage, ec2.RoleJanitor)
	if refused, unclear := ec2.RoleJanitor.Lacks(all); len(refused)+len(unclear) > 0 || answers(all)[setExpires] != ec2.AnswerAllowed {
		t.Errorf("as janitor: %+v, %+v", refused, unclear)
	}
	if w.Sent("RunInstances")+w.Sent("DeleteTags") != before {
		t.Error("what the janitor does not need was rehearsed")
	}
}
