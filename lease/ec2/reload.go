package ec2

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
)

// reloaded are the credentials of the shared files, read again when a file changes. The SDK reads them once, and keys that
// were rotated there would be used until they are refused. While the files are of no use, what they said last counts.
type reloaded struct {
	files []string
	load  func(context.Context) (aws.Config, error)

	mu         sync.Mutex
	checkpoint string // of the files when they were read
	current    aws.CredentialsProvider
	failed     string    // checkpoint of files that were of no use
	again      time.Time // when those are tried once more
}

// reloadPause is how long files that were of no use are left alone, unless they change.
const reloadPause = 10 * time.Second

// Retrieve returns the credentials that the files say now.
func (r *reloaded) Retrieve(ctx context.Context) (aws.Credentials, error) {
	return r.provider(ctx).Retrieve(ctx)
}

func (r *reloaded) provider(ctx context.Context) aws.CredentialsProvider {
	r.mu.Lock()
	defer r.mu.Unlock()
	checkpoint := checkpointOf(r.files)
	if checkpoint == r.checkpoint || checkpoint == r.failed && time.Now().Before(r.again) {
		return r.current
	}
	bounded, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	cfg, err := r.load(bounded)
	if err == nil { // half a file may be no error, and lead to other sources
		patient, cancelPatient := context.WithTimeout(ctx, patience(cfg))
		defer cancelPatient()
		_, err = cfg.Credentials.Retrieve(patient)
	}
	if err != nil {
		r.failed, r.again = checkpoint, time.Now().Add(reloadPause)
		return r.current
	}
	r.checkpoint, r.current = checkpoint, cfg.Credentials
	return r.current
}

// sharedFiles are those that the SDK reads.
//
// Source: https://docs.aws.amazon.com/sdkref/latest/guide/file-location.html
func sharedFiles() ([]string, error) {
	env, err := config.NewEnvConfig()
	return []string{
		cmp.Or(env.SharedConfigFile, config.DefaultSharedConfigFilename()),
		cmp.Or(env.SharedCredentialsFile, config.DefaultSharedCredentialsFilename()),
	}, err
}

// checkpointOf tells one state of the files from another.
func checkpointOf(files []string) string {
	checkpoint := ""
	for _, file := range files {
		if info, err := os.Stat(file); err == nil {
			checkpoint += fmt.Sprintf("%d %d ", info.ModTime().UnixNano(), info.Size())
		} else {
			checkpoint += "none "
		}
	}
	return checkpoint
}
