package launch_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"lapse/lease"
	"lapse/lease/ec2"
	"lapse/lease/ec2/ec2sim"
	"lapse/lease/ec2/ec2test"
	"lapse/lease/ec2/launch"
)

// template asks for two instances of a launch template alone.
func template(token, spec string) launch.Request {
	return launch.Request{Token: token, Count: 2, Skeleton: []byte(`{"LaunchTemplate": ` + spec + `}`)}
}

func TestATemplatesVersionIsFrozen(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ spec, version, imageID string }{
		"latest":  {`{"LaunchTemplateName": "web", "Version": "$Latest"}`, "2", "ami-00000000000000002"},
		"default": {`{"LaunchTemplateName": "web", "Version": "$Default"}`, "1", "ami-00000000000000001"},
		"absent":  {`{"LaunchTemplateName": "web"}`, "1", "ami-00000000000000001"},
		"number":  {`{"LaunchTemplateName": "web", "Version": "2"}`, "2", "ami-00000000000000002"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, ec2sim.Config{})
			add := func(imageID string) string {
				id, _ := w.Sim.AddTemplateVersion(ec2test.Region, "web", map[string]string{
					"ImageId": imageID, "InstanceType": "t3.micro",
					"TagSpecification.1.ResourceType": "volume",
					"TagSpecification.1.Tag.1.Key":    "Disk", "TagSpecification.1.Tag.1.Value": "web",
					"TagSpecification.1.Tag.2.Key": lease.TagRegistry, "TagSpecification.1.Tag.2.Value": "copied",
				})
				return id
			}
			add("ami-00000000000000001")
			id := add("ami-00000000000000002")
			// The answer is lost, and the template moves on before the replay.
			w.Sim.Inject(ec2sim.Fault{Action: "RunInstances", Times: 1, Stage: ec2sim.AfterDeed, Effect: ec2sim.Drop, Hook: func() {
				add("ami-00000000000000003")
				w.Sim.SetDefaultVersion(ec2test.Region, "web", 3)
			}})
			result, err := w.launcher(t).Launch(t.Context(), template("job-7", c.spec))
			if err != nil || len(result.Leases) != 2 {
				t.Fatalf("%+v, %v", result, err)
			}
			var frozen struct {
				LaunchTemplate map[string]string
				ImageID        string `json:"ImageId"`
			}
			if err := json.Unmarshal(result.Launch.Request, &frozen); err != nil {
				t.Fatal(err)
			}
			if got := frozen.LaunchTemplate; len(got) != 2 || got["LaunchTemplateId"] != id || got["Version"] != c.version || frozen.ImageID != c.imageID {
				t.Errorf("frozen = %+v", frozen)
			}
			for _, i := range w.made("job-7") {
				if i.ImageID != c.imageID {
					t.Errorf("image %s, want %s", i.ImageID, c.imageID)
				}
			}
			for _, v := range w.Sim.Volumes() {
				if v.Tags["Disk"] != "web" || v.Tags[lease.TagRegistry] != ec2test.UUID {
					t.Errorf("volume tags = %v", v.Tags)
				}
			}
		})
	}
}

func TestImageAliasesAreFrozen(t *testing.T) {
	t.Parallel()
	const name = "/aws/service/ami-amazon-linux-latest/al2023"
	alias := "resolve:ssm:" + name
	w := newWorld(t, ec2sim.Config{Parameters: map[string]string{name: ec2test.Image, "/other": "not an image"}})
	w.Sim.AddTemplateVersion(ec2test.Region, "web", map[string]string{"ImageId": alias, "InstanceType": "t3.micro"})

	direct := w.request("direct", 1)
	direct.ImageID = alias
	for _, r := range []launch.Request{direct, template("inside", `{"LaunchTemplateName": "web"}`)} {
		result, err := w.launcher(t).Launch(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		var frozen struct {
			ImageID string `json:"ImageId"`
		}
		if err := json.Unmarshal(result.Launch.Request, &frozen); err != nil || frozen.ImageID != ec2test.Image {
			t.Errorf("%s: frozen image %q, %v", r.Token, frozen.ImageID, err)
		}
	}

	r := w.request("job-7", 1)
	r.ImageID = "resolve:ssm:/other"
	_, err := w.launcher(t).Launch(t.Context(), r)
	if e := ec2test.WantAs[*launch.RequestError](t, err); e.Field != "ImageId" {
		t.Errorf("%+v", e)
	}
	r.ImageID = "resolve:ssm:/absent"
	_, err = w.launcher(t).Launch(t.Context(), r)
	if e := ec2test.WantAs[*ec2.AnswerError](t, err); e.Code != "ParameterNotFound" {
		t.Errorf("%+v", e)
	}
}

func TestTheRequestIsTheAliasAndNotTheImage(t *testing.T) {
	t.Parallel()
	parameters := map[string]string{"/golden": ec2test.Image}
	w := newWorld(t, ec2sim.Config{Parameters: parameters})
	r := w.request("job-7", 1)
	r.ImageID = "resolve:ssm:/golden"
	first, err := w.launcher(t).Launch(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	parameters["/golden"] = "ami-00000000000000009"
	w.wantSame(t, first, func() (launch.Result, error) { return w.launcher(t).Launch(t.Context(), r) })
}

func TestAMissingTemplate(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	_, err := w.launcher(t).Launch(t.Context(), template("job-7", `{"LaunchTemplateName": "absent"}`))
	if e := ec2test.WantAs[*ec2.AnswerError](t, err); e.Code != "InvalidLaunchTemplateName.NotFoundException" {
		t.Errorf("%+v", e)
	}
	if w.store.Get("launch", "job-7") != nil {
		t.Error("a record was left behind")
	}
}

// saysOfTemplates answers DescribeLaunchTemplateVersions with more data than the simulated EC2 shows.
type saysOfTemplates struct {
	*http.Client
	id, data string
}

func (s saysOfTemplates) Do(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	if !bytes.Contains(body, []byte("Action=DescribeLaunchTemplateVersions")) {
		return s.Client.Do(r)
	}
	answer := `<DescribeLaunchTemplateVersionsResponse><requestId>1</requestId><launchTemplateVersionSet><item><launchTemplateId>` + s.id +
		`</launchTemplateId><versionNumber>1</versionNumber><launchTemplateData>` + s.data +
		`</launchTemplateData></item></launchTemplateVersionSet></DescribeLaunchTemplateVersionsResponse>`
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(answer)), Request: r}, nil
}

func TestSettingsOfATemplateCount(t *testing.T) {
	t.Parallel()
	const options = `<metadataOptions><httpTokens>optional</httpTokens><httpPutResponseHopLimit>2</httpPutResponseHopLimit>` +
		`<instanceMetadataTags>enabled</instanceMetadataTags><httpEndpoint>enabled</httpEndpoint></metadataOptions>`
	for name, c := range map[string]struct {
		data, beside string
		refused      bool
	}{
		"one-time spot request":   {data: `<instanceMarketOptions><marketType>spot</marketType></instanceMarketOptions>` + options},
		"persistent spot request": {data: `<instanceMarketOptions><marketType>spot</marketType><spotOptions><spotInstanceType>persistent</spotInstanceType></spotOptions></instanceMarketOptions>`, refused: true},
		"protection":              {data: `<disableApiTermination>true</disableApiTermination>`, refused: true},
		"stop protection":         {data: `<disableApiStop>true</disableApiStop>`, refused: true},
		"stop protection undone":  {data: `<disableApiStop>true</disableApiStop>` + options, beside: `, "DisableApiStop": false`},
		"operated by a service":   {data: `<operator><principal>service.example.com</principal></operator>`, refused: true},
		"persistent, and spot again": {
			data:   `<instanceMarketOptions><marketType>spot</marketType><spotOptions><spotInstanceType>persistent</spotInstanceType></spotOptions></instanceMarketOptions>`,
			beside: `, "InstanceMarketOptions": {"MarketType": "spot"}`, refused: true,
		},
		"persistent, and one-time": {
			data:   `<instanceMarketOptions><marketType>spot</marketType><spotOptions><spotInstanceType>persistent</spotInstanceType></spotOptions></instanceMarketOptions>` + options,
			beside: `, "InstanceMarketOptions": {"MarketType": "spot", "SpotOptions": {"SpotInstanceType": "one-time"}}`,
		},
		"protection that is undone": {data: `<disableApiTermination>true</disableApiTermination>` + options, beside: `, "DisableApiTermination": false`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, ec2sim.Config{})
			spot := strings.Contains(c.data, "spot")
			data := map[string]string{"ImageId": ec2test.Image, "InstanceType": "t3.micro"}
			if spot {
				data["InstanceMarketOptions.MarketType"] = "spot"
			}
			id, _ := w.Sim.AddTemplateVersion(ec2test.Region, "web", data)
			cfg := w.AWS()
			cfg.HTTPClient = saysOfTemplates{w.HTTP, id, c.data + `<imageId>` + ec2test.Image + `</imageId>`}
			r := template("job-7", `{"LaunchTemplateName": "web"}`+c.beside)
			r.Tags = map[string]string{"Name": "worker"}
			_, err := launch.New(w.Cloud(t, cfg, ec2.Options{}), w.store, quick()).Launch(t.Context(), r)
			if c.refused {
				if e := ec2test.WantAs[*launch.RequestError](t, err); e.Field != "LaunchTemplate" {
					t.Errorf("%+v", e)
				}
				if w.store.Get("launch", "job-7") != nil || w.Sent("RunInstances") != 0 {
					t.Error("it was stored, or sent")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range w.Sim.SpotRequests() {
				if s.Tags["Name"] != "worker" || s.Tags[lease.TagLaunch] != "job-7.1" {
					t.Errorf("spot request tags = %v", s.Tags)
				}
			}
			for _, i := range w.made("job-7") {
				if m := i.Metadata; m.HTTPTokens != "required" || m.HopLimit != 2 || m.InstanceTags != "enabled" || (i.SpotRequest != "") != spot {
					t.Errorf("metadata %+v, spot request %q", m, i.SpotRequest)
				}
			}
		})
	}
}
