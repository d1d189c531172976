package iam_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// tags are those of a resource or of a request.
type tags map[string]string

const (
	ours   = placeholder
	others = "11111111-2222-3333-4444-555555555555"

	anInstance  = "arn:aws:ec2:eu-west-1:123456789012:instance/i-0123456789abcdef0"
	aVolume     = "arn:aws:ec2:eu-west-1:123456789012:volume/vol-0123456789abcdef0"
	anInterface = "arn:aws:ec2:eu-west-1:123456789012:network-interface/eni-0123456789abcdef0"
	aKeyPair    = "arn:aws:ec2:eu-west-1:123456789012:key-pair/lapse-" + ours + "-x.1"
	aSpot       = "arn:aws:ec2:eu-west-1:123456789012:spot-instances-request/sir-01234567"
)

// allowed evaluates a policy by itself.
func allowed(t *testing.T, policy, action, resource string, borne, set tags) bool {
	t.Helper()
	keys := map[string][]string{"aws:TagKeys": slices.Sorted(maps.Keys(set))}
	for key, value := range borne {
		keys["aws:ResourceTag/"+key] = []string{value}
	}
	for key, value := range set {
		keys["aws:RequestTag/"+key] = []string{value}
	}
	return slices.ContainsFunc(readPolicy(t, policy).Statement, func(s statement) bool {
		return s.Effect == "Allow" && s.applies(t, request{action, resource, keys})
	})
}

func TestWhoMayDoWhatToWhichTags(t *testing.T) {
	const create, remove, terminate, cancel = "ec2:CreateTags", "ec2:DeleteTags", "ec2:TerminateInstances", "ec2:CancelSpotInstanceRequests"
	const importKey, deleteKey = "ec2:ImportKeyPair", "ec2:DeleteKeyPair"
	bare, managed, foreign := tags{"Name": "db"}, tags{"lapse:registry": ours}, tags{"lapse:registry": others}
	exempt := tags{"lapse:registry": ours, "lapse:exempt": ""}
	second := tags{"lapse:expires": "none 7", "lapse:leased": "x.1"}
	all := tags{"lapse:registry": ours, "lapse:launch": "x.1", "lapse:expires": "none 7", "lapse:leased": "x.1"}
	for _, test := range []struct {
		name, policy, action, resource string
		borne, set                     tags
		allowed                        bool
	}{
		{"the second key on an instance", "janitor", create, anInstance, managed, second, true},
		{"one half of it", "janitor", create, anInstance, managed, tags{"lapse:expires": "none 7"}, true},
		{"on what is exempt", "janitor", create, anInstance, exempt, second, true},
		{"on a volume", "janitor", create, aVolume, managed, second, true},
		{"on an interface", "janitor", create, anInterface, managed, second, true},
		{"on a spot request", "janitor", create, aSpot, managed, second, false},
		{"on what bears no tag", "janitor", create, anInstance, bare, second, false},
		{"on a volume without", "janitor", create, aVolume, nil, second, false},
		{"on another registry's", "janitor", create, anInstance, foreign, second, false},
		{"the registry's tag on what bears none", "janitor", create, anInstance, bare, managed, false},
		{"hidden behind the second key", "janitor", create, anInstance, bare, all, false},
		{"the registry's tag again", "janitor", create, anInstance, managed, managed, false},
		{"another registry's over ours", "janitor", create, anInstance, managed, foreign, false},
		{"our tag over another registry's", "janitor", create, anInstance, foreign, managed, false},
		{"another key beside", "janitor", create, anInstance, managed, tags{"lapse:expires": "none 7", "team": "x"}, false},
		{"an exemption", "janitor", create, anInstance, managed, tags{"lapse:exempt": ""}, false},
		{"no tag at all", "janitor", create, anInstance, managed, nil, false},
		{"removal of the second key", "janitor", remove, anInstance, managed, second, false},
		{"removal of all tags", "janitor", remove, anInstance, managed, nil, false},
		{"termination", "janitor", terminate, anInstance, managed, nil, true},
		{"termination of what is exempt", "janitor", terminate, anInstance, exempt, nil, false},
		{"termination of another registry's", "janitor", terminate, anInstance, foreign, nil, false},
		{"termination of what bears no tag", "janitor", terminate, anInstance, bare, nil, false},

		{"import a key pair of the registry", "launcher-key-pair", importKey, aKeyPair, nil, managed, true},
		{"without its tag", "launcher-key-pair", importKey, aKeyPair, nil, nil, false},
		{"of another name", "launcher-key-pair", importKey, "arn:aws:ec2:eu-west-1:123456789012:key-pair/ada", nil, managed, false},
		{"of another registry's name", "launcher-key-pair", importKey, "arn:aws:ec2:eu-west-1:123456789012:key-pair/lapse-" + others + "-x.1", nil, managed, false},
		{"delete it", "launcher-key-pair", deleteKey, aKeyPair, managed, nil, true},
		{"delete one of its name without its tag", "launcher-key-pair", deleteKey, aKeyPair, nil, nil, false},
		{"delete another registry's", "launcher-key-pair", deleteKey, aKeyPair, foreign, nil, false},
		{"delete a key pair of a launch", "janitor-key-pair", deleteKey, aKeyPair, managed, nil, true},
		{"an exempt one", "janitor-key-pair", deleteKey, aKeyPair, exempt, nil, false},
		{"one of its name without its tag", "janitor-key-pair", deleteKey, aKeyPair, nil, nil, false},
		{"another registry's", "janitor-key-pair", deleteKey, aKeyPair, foreign, nil, false},
		{"one of another name", "janitor-key-pair", deleteKey, "arn:aws:ec2:eu-west-1:123456789012:key-pair/ada", managed, nil, false},
		{"tag a key pair later", "launcher-key-pair", create, aKeyPair, nil, managed, false},
		{"tag an instance by that", "launcher-key-pair", create, anInstance, nil, managed, false},
		{"complete an adoption", "janitor-adopt", create, anInstance, bare, managed, true},
		{"of what bears the tag already", "janitor-adopt", create, anInstance, managed, managed, false},
		{"of what is another registry's", "janitor-adopt", create, anInstance, foreign, managed, false},
		{"of what is exempt", "janitor-adopt", create, anInstance, tags{"lapse:exempt": ""}, managed, false},
		{"for another registry", "janitor-adopt", create, anInstance, bare, foreign, false},
		{"with other tags beside", "janitor-adopt", create, anInstance, bare, all, false},
		{"of a volume", "janitor-adopt", create, aVolume, bare, managed, false},
		{"no tag at all", "janitor-adopt", create, anInstance, bare, nil, false},
		{"end what was adopted", "janitor-adopt", terminate, anInstance, managed, nil, false},

		{"adoption", "operator", create, anInstance, bare, managed, true},
		{"adoption again", "operator", create, anInstance, managed, managed, true},
		{"our tag over another registry's", "operator", create, anInstance, foreign, managed, false},
		{"another registry's over ours", "operator", create, anInstance, managed, foreign, false},
		{"another registry's on what bears none", "operator", create, anInstance, bare, foreign, false},
		{"other tags beside", "operator", create, anInstance, bare, tags{"lapse:registry": ours, "team": "x"}, false},
		{"the second key", "operator", create, anInstance, managed, second, false},
		{"no tag at all", "operator", create, anInstance, managed, nil, false},
		{"a volume", "operator", create, aVolume, bare, managed, false},
		{"unmanage", "operator", remove, anInstance, managed, all, true},
		{"unmanage another registry's", "operator", remove, anInstance, foreign, all, false},
		{"unmanage what bears no tag", "operator", remove, anInstance, bare, all, false},
		{"end an exemption", "operator", remove, anInstance, exempt, tags{"lapse:exempt": ""}, false},
		{"remove all tags", "operator", remove, anInstance, managed, nil, false},
		{"remove a volume's", "operator", remove, aVolume, managed, all, false},
		{"terminate", "operator", terminate, anInstance, managed, nil, false},

		{"cancel the spot request of what is adopted", "operator", cancel, aSpot, bare, nil, true},
		{"cancel the spot request of a launch", "operator", cancel, aSpot, managed, nil, false},
		{"cancel another registry's", "operator", cancel, aSpot, foreign, nil, false},

		{"tag what exists", "launcher", create, anInstance, bare, managed, false},
		{"write the second key", "launcher", create, anInstance, managed, second, false},
		{"remove tags", "launcher", remove, anInstance, managed, all, false},
		{"tag", "observer", create, anInstance, bare, managed, false},
	} {
		t.Run(test.policy+", "+test.name, func(t *testing.T) {
			if got := allowed(t, test.policy+".json", test.action, test.resource, test.borne, test.set); got != test.allowed {
				t.Errorf("allowed: %v, want %v", got, test.allowed)
			}
		})
	}
}

// A janitor or an operator that is compromised, and asks for anything: whatever it may set, no tag of a registry comes to
// an instance that bears none through the janitor, and none is written over by either.
func TestNoTagOfARegistryIsOverwritten(t *testing.T) {
	values := []string{"", ours, others}
	for _, policy := range []string{"janitor.json", "operator.json"} {
		for _, borne := range values {
			for _, set := range values[1:] {
				for _, beside := range []tags{nil, {"lapse:expires": "none 1"}, {"lapse:leased": ""}, {"lapse:expires": "", "lapse:leased": ""}, {"x": "y"}} {
					bears, sets := tags{}, maps.Clone(beside)
					if borne != "" {
						bears["lapse:registry"] = borne
					}
					if sets == nil {
						sets = tags{}
					}
					sets["lapse:registry"] = set
					got := allowed(t, policy, "ec2:CreateTags", anInstance, bears, sets)
					adopts := strings.HasPrefix(policy, "operator") && set == ours && (borne == "" || borne == ours)
					if got && !adopts {
						t.Errorf("%s: %v over %v", policy, sets, bears)
					}
				}
			}
		}
	}
}
