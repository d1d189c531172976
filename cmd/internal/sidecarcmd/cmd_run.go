package sidecarcmd

import (
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/lease"
	"lapse/sidecar"
	"lapse/sidecar/imds"
)

func (b Build) runCommand() *ucli.Command {
	other := "This program renews through the API alone. To renew in etcd itself, install sidecar-direct in its place."
	if b.Direct != nil {
		other = "With --etcd-endpoints it renews in etcd itself. Use that on trusted networks only: whoever reaches etcd can\n" +
			"change every lease.\n\n" +
			"   sidecar run --etcd-endpoints https://etcd:2379 --etcd-cacert ca.pem \\\n" +
			"       --etcd-cert vm.pem --etcd-key vm.key"
	}
	return &ucli.Command{
		Name: "run", Usage: "renew the lease until it ends",
		Description: "Learns the instance id from the instance metadata service (IMDSv2), and renews the instance's lease as soon\n" +
			"as there is one. It needs no AWS credentials. It calls the instance API, of which the user-data of `lease\n" +
			"launch` says where it is, and proves there which instance it is:\n\n" +
			"   sidecar run\n" +
			"   sidecar run --api https://lapse.example.com:8443 --api-cacert ca.pem\n\n" + other,
		Flags: append(append(append(b.storeFlags(), cli.LogFlags()...), apiClientFlags()...),
			socketFlag(),
			&ucli.StringFlag{Name: "max-extend", Usage: "let local programs extend up to `DURATION` from now", DefaultText: "the lease's maximum"},
			&ucli.StringFlag{Name: "imds", Usage: "read instance metadata from `URL`", DefaultText: "the AWS SDK's own setting"},
		),
		Action: b.run,
	}
}

func (b Build) run(c *ucli.Context) error {
	if err := b.checkFlags(c); err != nil {
		return err
	}
	if url := c.String("api"); url != "" {
		if err := lease.CheckAPI(url); err != nil {
			return err
		}
	}
	log, err := cli.ServiceLogger(c)
	if err != nil {
		return err
	}
	maxExtend := time.Duration(0)
	if text := c.String("max-extend"); text != "" {
		if maxExtend, err = cli.Duration("max-extend", text); err != nil {
			return err
		}
	}
	endpoint := c.String("imds")
	if endpoint == "" {
		endpoint = imds.Endpoint(os.Getenv)
	}
	metadata := imds.New(endpoint, log)
	me, err := metadata.Identity(c.Context)
	if err != nil {
		return err
	}
	boot, err := sidecar.BootID()
	if err != nil {
		return err
	}
	watchdog, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return cli.Usage("cannot read the service manager's WATCHDOG_USEC: %v", err)
	}
	log.Info("this instance", "instance_id", me.InstanceID, "zone", me.Zone)
	s, err := sidecar.New(sidecar.Config{
		InstanceID: me.InstanceID, BootID: boot, Address: me.Address, Version: b.Version, SocketPath: c.String("socket"),
		MaxExtend: maxExtend, Open: b.way(c, me.InstanceID, metadata, log), Logger: log,
		Now: time.Now, Notify: cli.Notifier(), Watchdog: watchdog,
	})
	if err != nil {
		return err
	}
	return s.Run(c.Context)
}
