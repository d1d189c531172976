package ec2sim

import "time"

type callerAnswer struct {
	head      `xml:"-"`
	Arn       string `xml:"GetCallerIdentityResult>Arn"`
	UserID    string `xml:"GetCallerIdentityResult>UserId"`
	Account   string `xml:"GetCallerIdentityResult>Account"`
	RequestID string `xml:"ResponseMetadata>RequestId"`
}

// identify puts the request id where STS has it.
func (a *callerAnswer) identify(id string) { a.RequestID = id }

// getCallerIdentity names the account:
// https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html
func (s *Sim) getCallerIdentity(*request) (body, error) {
	return &callerAnswer{
		Arn: "arn:aws:iam::" + s.config.Account + ":user/ec2sim", UserID: "AIDAEC2SIM", Account: s.config.Account,
	}, nil
}

// MFACode is the one that every MFA device shows.
const MFACode = "123456"

type roleAnswer struct {
	head      `xml:"-"`
	Key       string `xml:"AssumeRoleResult>Credentials>AccessKeyId"`
	Secret    string `xml:"AssumeRoleResult>Credentials>SecretAccessKey"`
	Token     string `xml:"AssumeRoleResult>Credentials>SessionToken"`
	Expires   string `xml:"AssumeRoleResult>Credentials>Expiration"`
	RequestID string `xml:"ResponseMetadata>RequestId"`
}

func (a *roleAnswer) identify(id string) { a.RequestID = id }

// assumeRole gives an hour of any role to whoever names no MFA device, or has its code:
// https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
func (s *Sim) assumeRole(q *request) (body, error) {
	q.need("RoleArn")
	if q.err == nil && q.str("SerialNumber") != "" && q.str("TokenCode") != MFACode {
		return nil, refusal("AccessDenied", "MultiFactorAuthentication failed with invalid MFA one time pass code.")
	}
	return &roleAnswer{Key: "ASIAEC2SIM", Secret: "secret", Token: "token", Expires: checkpoint(q.now.Add(time.Hour))}, q.err
}

type parameterAnswer struct {
	head      `json:"-"`
	Parameter parameterItem `json:"Parameter"`
}

type parameterItem struct {
	Name     string
	Type     string
	Value    string
	Version  int
	ARN      string
	DataType string
}

// getParameter reads an SSM parameter:
// https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameter.html
func (s *Sim) getParameter(q *request) (body, error) {
	name := q.str("Name")
	value, ok := s.config.Parameters[name]
	if !ok {
		return nil, refusal("ParameterNotFound", "The parameter %s does not exist", name)
	}
	arn := "arn:aws:ssm:" + q.region.name + ":" + s.config.Account + ":parameter/" + name
	return &parameterAnswer{Parameter: parameterItem{name, "String", value, 1, arn, "text"}}, nil
}
