package ec2

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/smithy-go/logging"
)

// Bounds of every call to AWS. Together they let a command fail within 10 s where AWS is out of reach.
const (
	dialTimeout   = 2 * time.Second
	maxAttempts   = 3                // of a call that may be repeated; RunInstances is sent once
	reachTimeout  = 10 * time.Second // of the calls that find out whether AWS is there, retries and pauses included
	answerTimeout = 30 * time.Second // of all others
)

// Load reads the SDK's own settings: AWS_REGION, AWS_PROFILE, AWS_ENDPOINT_URL and so on, and the shared files. region
// wins over them unless it is empty. Connections are attempted for 2 s and calls three times, so that an AWS out of
// reach is noticed. Credentials follow the shared files when these change; all else is read once. What the SDK has to say
// beside its errors goes to log, which may be nil, and never to stderr by itself.
//
// Errors: [SettingsError] if there is no region or there are no credentials. It returns within 10 s.
//
// Source: https://docs.aws.amazon.com/sdkref/latest/guide/settings-reference.html
func Load(ctx context.Context, region string, log *slog.Logger) (aws.Config, error) {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	client := awshttp.NewBuildableClient().
		WithDialerOptions(func(d *net.Dialer) { d.Timeout = dialTimeout }).
		WithTransportOptions(func(t *http.Transport) { t.TLSHandshakeTimeout = dialTimeout })
	options := []func(*config.LoadOptions) error{
		config.WithHTTPClient(client), config.WithRetryMaxAttempts(maxAttempts), config.WithLogger(sdkLog(log)),
	}
	if region != "" {
		options = append(options, config.WithRegion(region))
	}
	load := func(ctx context.Context) (aws.Config, error) { return config.LoadDefaultConfig(ctx, options...) }
	files, err := sharedFiles()
	if err != nil {
		return aws.Config{}, &SettingsError{What: "settings", Err: err}
	}
	stamp := stampOf(files) // before they are read: what changes then is read again
	cfg, err := load(ctx)
	if err != nil {
		return aws.Config{}, &SettingsError{What: "settings", Err: err}
	}
	if cfg.Region == "" {
		return aws.Config{}, &SettingsError{What: "region"}
	}
	cfg.Credentials = &reloaded{files: files, load: load, stamp: stamp, current: cfg.Credentials}
	if _, err := cfg.Credentials.Retrieve(ctx); err != nil {
		return aws.Config{}, &SettingsError{What: "credentials", Err: err}
	}
	return cfg, nil
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
