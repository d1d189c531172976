package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/advice"
	"lapse/cmd/internal/cli"
	"lapse/cmd/internal/cloud"
	"lapse/cmd/internal/registry"
	"lapse/janitor"
	"lapse/janitor/metrics"
	"lapse/lease"
	"lapse/lease/etcd"
	"lapse/lease/etcd/embedded"
)

func runCommand() *ucli.Command {
	flags := append(append(append(cli.StoreFlags(), cli.LogFlags()...), locationFlags(sweptRegion)...), figureFlags()...)
	flags = append(flags, apiServerFlags("", apiFlags)...)
	return &ucli.Command{
		Name: "run", Usage: "sweep on a schedule while elected",
		Description: "Sweeps at once and on schedule; between sweeps it reacts to changes and dates within seconds. Several may\n" +
			"run: one leads, the others wait. It terminates nothing that it cannot write to --audit-log.\n\n" +
			"   janitor run --embedded-etcd /var/lib/lapse   # etcd in this process\n" +
			"   janitor run --etcd-endpoints https://etcd:2379 --region eu-west-1",
		Flags: append(flags, stateFlag("that of --embedded-etcd"), auditFlag(),
			&ucli.StringFlag{Name: "listen", Usage: "serve /metrics, /healthz and /readyz at `HOST:PORT` over plain HTTP", DefaultText: "off"},
			&ucli.StringFlag{Name: "schedule", Value: "@every 1m", Usage: "sweep by cron `FIELDS`, or as in \"@every 5m\""},
			&ucli.StringFlag{Name: "embedded-etcd", Usage: "run etcd in this process, with its data in `DIR`"},
			&ucli.StringFlag{Name: "embedded-etcd-listen", Usage: "serve the embedded etcd at `HOST:PORT`, beyond loopback with TLS", Category: embeddedFlags},
			&ucli.StringFlag{Name: "embedded-etcd-cert", Usage: "serve the embedded etcd with the certificate in `FILE`", Category: embeddedFlags},
			&ucli.StringFlag{Name: "embedded-etcd-key", Usage: "read the key of --embedded-etcd-cert from `FILE`", Category: embeddedFlags},
			&ucli.StringFlag{Name: "embedded-etcd-client-ca", Usage: "admit only etcd clients certified by the CA in `FILE`", Category: embeddedFlags},
			&ucli.BoolFlag{Name: "arm", Usage: "arm the registry if this command creates it"},
			&ucli.BoolFlag{Name: "new", Usage: "create a registry even if instances of another one exist", Category: embeddedFlags},
			&ucli.StringFlag{Name: "uuid", Usage: "create the registry under `UUID`, to recover a lost one", Category: embeddedFlags},
		),
		Action: run,
	}
}

func run(c *ucli.Context) error {
	registry.NarrowUmask()
	log, err := cli.ServiceLogger(c)
	if err != nil {
		return err
	}
	p, err := readPolicy(c)
	if err != nil {
		return err
	}
	if _, err := uuid.Parse(c.String("uuid")); c.String("uuid") != "" && err != nil {
		return cli.Usage("--uuid %q is not a UUID", c.String("uuid"))
	}
	front, known, err := readAPI(c)
	if err != nil {
		return err
	}
	watched := metrics.New(version, time.Now)
	unlisten, err := listen(c, watched, log)
	if err != nil {
		return err
	}
	defer unlisten()
	audit, closeAudit, err := openAudit(c)
	if err != nil {
		return err
	}
	defer closeAudit()
	clouds, err := locations(c, log, cloud.Regions(c), watched.Called)
	if err != nil {
		return err
	}
	if err := checkNew(c, clouds); err != nil { // before the directory is made: its name may be mistyped
		return err
	}
	j, err := janitor.New(janitor.Config{ // before etcd is started, since it checks the schedule
		Clouds: clouds, Policy: p, Schedule: c.String("schedule"), StateDir: cmp.Or(c.String("state-dir"), c.String("embedded-etcd")),
		Observe: watched, Audit: audit, Now: time.Now, Log: log, Notify: cli.Notifier(),
	})
	if err != nil {
		return err
	}
	store, stopped, closeStore, err := openRegistry(c, log)
	if err != nil {
		return err
	}
	defer closeStore()
	if err := ensureRegistry(c, store, clouds, log); err != nil {
		return err
	}
	stopAPI, err := serveAPI(c, front, known, store, clouds, watched, log)
	if err != nil {
		return err
	}
	defer stopAPI()
	j.Campaign, j.Healthy, j.LastCheckpoint = campaign(store, 0), store.Healthy, lastCheckpoint(store)
	return runUntil(c.Context, stopped, j.Run)
}

// stateFlag is the directory in which a janitor remembers the registry's state. otherwise describes the default.
func stateFlag(otherwise string) ucli.Flag {
	return &ucli.StringFlag{
		Name: "state-dir", EnvVars: []string{"LAPSE_STATE_DIR", "STATE_DIRECTORY"}, // the second is systemd's, so both are named
		Usage: "remember the registry's state in `DIR`, outside etcd's backups", DefaultText: otherwise,
	}
}

// lastCheckpoint reads what a replica follows while another one leads.
func lastCheckpoint(store *etcd.Store) func(context.Context) (lease.Registry, lease.Checkpoint, error) {
	return func(ctx context.Context) (lease.Registry, lease.Checkpoint, error) {
		registry, err := store.Registry(ctx)
		if err != nil {
			return registry, lease.Checkpoint{}, err
		}
		checkpoint, err := store.Checkpoint(ctx)
		if cli.Is[*lease.NotFoundError](err) {
			err = nil
		}
		return registry, checkpoint, err
	}
}

// runUntil runs until it is done, or until the etcd in this process has stopped, without which it cannot go on.
func runUntil(ctx context.Context, stopped <-chan struct{}, run func(context.Context) error) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go func() {
		select {
		case <-stopped:
			stop(errors.New("the etcd inside this process has stopped; see the log, then start again"))
		case <-ctx.Done():
		}
	}()
	if err := run(ctx); err != nil {
		return err
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// openRegistry connects to etcd, or starts one in this process if asked to, and tells when that one stopped. It must be
// closed last, because a graceful stop still writes.
func openRegistry(c *ucli.Context, log *slog.Logger) (*etcd.Store, <-chan struct{}, func(), error) {
	dir := c.String("embedded-etcd")
	if dir == "" {
		store, closeStore, err := registry.Store(c, log)
		return store, nil, closeStore, err
	}
	server, err := embedded.Start(c.Context, embedded.Config{
		Dir: dir, Listen: c.String("embedded-etcd-listen"), CertFile: c.String("embedded-etcd-cert"),
		KeyFile: c.String("embedded-etcd-key"), ClientCAFile: c.String("embedded-etcd-client-ca"), Logger: log,
	})
	if open, is := errors.AsType[*embedded.OpenError](err); is && open.Certified {
		err = cli.WithAdvice("; give --embedded-etcd-client-ca", err)
	} else if is {
		err = cli.WithAdvice("; give --embedded-etcd-cert and --embedded-etcd-key", err)
	}
	if err != nil {
		return nil, nil, nil, err
	}
	if other := c.StringSlice("etcd-endpoints"); c.IsSet("etcd-endpoints") && !slices.Contains(other, server.Endpoints()[0]) {
		log.Warn("the etcd inside this process is used, and not --etcd-endpoints; to use those, leave --embedded-etcd empty",
			"used", server.Endpoints()[0], "unused", strings.Join(other, ","))
	}
	store, closeStore, err := registry.StoreAt(c, log, server.Endpoints()[:1])
	if err != nil {
		return nil, nil, nil, errors.Join(err, server.Close())
	}
	return store, server.Done(), func() {
		closeStore()
		_ = server.Close()
	}, nil
}

// checkNew refuses to start an etcd in an empty directory if instances have a registry's tag.
func checkNew(c *ucli.Context, clouds []janitor.Cloud) error {
	dir := c.String("embedded-etcd")
	if dir == "" || c.String("uuid") != "" || c.Bool("new") || embedded.Holds(dir) {
		return nil
	}
	return refuseStrangers(c.Context, clouds)
}

// ensureRegistry creates the registry in a new embedded etcd. If instances have a registry's tag, data was probably
// lost, and a person has to decide.
func ensureRegistry(c *ucli.Context, store *etcd.Store, clouds []janitor.Cloud, log *slog.Logger) error {
	_, err := store.Registry(c.Context)
	if !cli.Is[*lease.NotFoundError](err) || c.String("embedded-etcd") == "" {
		return err
	}
	if c.String("uuid") == "" && !c.Bool("new") {
		if err := refuseStrangers(c.Context, clouds); err != nil {
			return err
		}
	}
	mode := lease.ModeObserve
	if c.Bool("arm") {
		mode = lease.ModeArmed
	}
	made := lease.NewRegistry(time.Now(), cmp.Or(c.String("uuid"), uuid.NewString()), mode)
	made.ModeBy = cli.Actor()
	created, err := store.PutRegistry(c.Context, made)
	if err != nil {
		return err
	}
	log.Info("registry created", "uuid", created.UUID, "mode", string(created.Mode))
	return nil
}

// refuseStrangers refuses if instances have any registry's tag.
func refuseStrangers(ctx context.Context, clouds []janitor.Cloud) error {
	uuids := map[string]int{}
	for _, cloud := range clouds {
		listing, err := cloud.List(ctx)
		if err != nil {
			return advice.EC2(fmt.Errorf("search for instances of an earlier registry: %w", err))
		}
		for _, i := range listing.Instances {
			if i.Alive() {
				uuids[i.Tags[lease.TagRegistry]]++
			}
		}
	}
	if len(uuids) == 0 {
		return nil
	}
	var found []string
	for id, n := range uuids {
		found = append(found, fmt.Sprintf("%s (%d instances)", id, n))
	}
	return cli.WithCode(cli.ExitRefused, fmt.Errorf(
		"this etcd directory is new, but instances of another registry exist: %s; restore its backup, give --uuid UUID to recover it, or give --new to create another",
		strings.Join(found, ", ")))
}
