package ec2sim

import (
	"maps"
	"strings"
)

// mergeTemplate replaces a RunInstances request's parameters by those that it
// comes to: with its launch template's where it says nothing itself, and with
// images looked up.
func (s *Sim) mergeTemplate(q *request) error {
	form := maps.Clone(q.form)
	id, name := q.str("LaunchTemplate.LaunchTemplateId"), q.str("LaunchTemplate.LaunchTemplateName")
	if id != "" || name != "" {
		t, err := q.region.templateNamed(id, name)
		if err != nil {
			return err
		}
		n, err := t.number(q.str("LaunchTemplate.Version"))
		if err != nil {
			return err
		}
		said := make(map[string]bool)
		for key := range q.form {
			said[family(key)] = true
		}
		for key, values := range t.versions[n-1].data {
			if !said[family(key)] {
				form[key] = values
			}
		}
	}
	if image := form.Get("ImageId"); image != "" {
		found, err := s.image(image)
		if err != nil {
			return err
		}
		form.Set("ImageId", found)
	}
	q.form = form
	return nil
}

// family is what a parameter belongs to: TagSpecification.1.Tag.1.Key to
// TagSpecification. A request replaces a template's by families.
func family(parameter string) string {
	name, _, _ := strings.Cut(parameter, ".")
	return name
}

// image returns the id behind resolve:ssm:NAME, and any other image as it is:
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/using-systems-manager-parameter-to-find-AMI.html
func (s *Sim) image(image string) (string, error) {
	name, alias := strings.CutPrefix(image, "resolve:ssm:")
	if !alias {
		return image, nil
	}
	id, ok := s.config.Parameters[name]
	if !ok {
		return "", refusal("InvalidParameterValue", "The SSM parameter '%s' does not exist", name)
	}
	return id, nil
}
