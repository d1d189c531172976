package ec2

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"
)

// Bounds of every call to AWS. Together they let a command fail within 10 s where AWS is out of reach.
const (
	dialTimeout   = 2 * time.Second
	maxAttempts   = 3                // of a call that may be repeated; RunInstances is sent once
	reachTimeout  = 10 * time.Second // of the calls that find out whether AWS is there, retries and pauses included
	answerTimeout = 30 * time.Second // of all others
)

// Bounds of what the shared files may have a profile wait for before there are credentials.
const (
	programTimeout = time.Minute     // credential_process and SSO: the SDK's own bound of such a process
	codeTimeout    = 2 * time.Minute // a person who reads a code from an MFA device
)

// Settings say how to read the AWS settings. The zero value is usable.
type Settings struct {
	Region string       // wins over the SDK's own unless it is empty
	Log    *slog.Logger // for what the SDK has to say beside its errors; nil: nowhere
	// Code asks a person for the code of an MFA device, where a profile names one. It is
	// asked while the settings are read and never afterwards; nil: there is nobody to ask.
	Code func(ctx context.Context, device string) (string, error)
	// Credentials are used in place of those that the SDK finds, such as those of an earlier call; nil: it finds them.
	Credentials aws.CredentialsProvider
}

// Load reads the SDK's own settings: AWS_REGION, AWS_PROFILE, AWS_ENDPOINT_URL and so on, and the shared files.
// Connections are attempted for 2 s and calls three times, so that an AWS out of reach is noticed. Credentials follow the
// shared files when these change; all else is read once. What the SDK has to say never goes to stderr by itself.
//
// Errors: [SettingsError] if there is no region or there are no credentials. It returns within 10 s, unless a profile has
// a program or SSO give the credentials, or names an MFA device.
//
// Source: https://docs.aws.amazon.com/sdkref/latest/guide/settings-reference.html
func (s Settings) Load(ctx context.Context) (aws.Config, error) {
	files, err := sharedFiles()
	if err != nil {
		return aws.Config{}, &SettingsError{What: "settings", Err: err}
	}
	code := &codeSource{ask: s.Code, ctx: func() context.Context { return ctx }}
	defer code.close()
	options := s.options(code)
	load := func(ctx context.Context) (aws.Config, error) { return config.LoadDefaultConfig(ctx, options...) }
	checkpoint := checkpointOf(files) // before they are read: what changes then is read again
	bounded, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	cfg, err := load(bounded)
	if err != nil {
		return aws.Config{}, &SettingsError{What: "settings", Err: err}
	}
	if cfg.Region == "" {
		return aws.Config{}, &SettingsError{What: "region"}
	}
	if s.Credentials != nil {
		cfg.Credentials = s.Credentials
		return cfg, nil
	}
	cfg.Credentials = &reloaded{files: files, load: load, checkpoint: checkpoint, current: cfg.Credentials}
	bound := patience(cfg)
	patient, cancelPatient := context.WithTimeout(ctx, bound)
	defer cancelPatient()
	if _, err := cfg.Credentials.Retrieve(patient); err != nil {
		if patient.Err() != nil && ctx.Err() == nil {
			err = fmt.Errorf("no answer within %s", bound)
		}
		return aws.Config{}, noCredentials(cfg, err)
	}
	return cfg, nil
}

// noCredentials says what gave none, so that it can be said what to do about it.
func noCredentials(cfg aws.Config, err error) *SettingsError {
	if none, is := errors.AsType[*codeError](err); is {
		return &SettingsError{What: "mfa", Err: none.err}
	}
	what := "credentials"
	if _, answered := errors.AsType[smithy.APIError](err); !answered { // or else a call of AWS, which had some, was refused
		for profile := range profiles(cfg) {
			switch {
			case profile.SSOAccountID != "", profile.SSOSessionName != "":
				what = "sso"
			case profile.CredentialProcess != "":
				what = "process"
			}
		}
	}
	return &SettingsError{What: what, Err: err}
}

func (s Settings) options(code *codeSource) []func(*config.LoadOptions) error {
	client := awshttp.NewBuildableClient().
		WithDialerOptions(func(d *net.Dialer) { d.Timeout = dialTimeout }).
		WithTransportOptions(func(t *http.Transport) { t.TLSHandshakeTimeout = dialTimeout })
	options := []func(*config.LoadOptions) error{
		config.WithHTTPClient(client), config.WithRetryMaxAttempts(maxAttempts), config.WithLogger(sdkLog(s.Log)),
		config.WithAssumeRoleCredentialOptions(code.of),
	}
	if s.Region != "" {
		options = append(options, config.WithRegion(s.Region))
	}
	return options
}

// patience is how long the credentials of a profile, or of those that it builds upon, may take.
func patience(cfg aws.Config) time.Duration {
	bound := reachTimeout
	for profile := range profiles(cfg) {
		if profile.CredentialProcess != "" || profile.SSOAccountID != "" || profile.SSOSessionName != "" {
			bound = max(bound, programTimeout)
		}
		if profile.MFASerial != "" {
			bound = max(bound, codeTimeout)
		}
	}
	return bound
}

// profiles are the profile that is used, and those that it builds upon.
func profiles(cfg aws.Config) iter.Seq[*config.SharedConfig] {
	return func(yield func(*config.SharedConfig) bool) {
		for _, source := range cfg.ConfigSources {
			shared, is := source.(config.SharedConfig)
			for profile := &shared; is && profile != nil; profile = profile.Source {
				if !yield(profile) {
					return
				}
			}
		}
	}
}

// sdkLog takes the place of the SDK's own logger, which writes to stderr.
func sdkLog(log *slog.Logger) logging.Logger {
	if log == nil {
		return logging.Nop{}
	}
	return logging.LoggerFunc(func(class logging.Classification, format string, args ...any) {
		say := log.Debug
		if class == logging.Warn {
			say = log.Warn
		}
		say("the AWS SDK says", "text", fmt.Sprintf(format, args...))
	})
}
