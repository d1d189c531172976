package main

import (
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/cmd/internal/cloud"
	"lapse/cmd/internal/registry"
	"lapse/janitor/metrics"
)

func apiCommand() *ucli.Command {
	flags := append(append(append(cli.StoreFlags(), cli.LogFlags()...), locationFlags("admit instances of `REGION`; repeatable")...), apiServerFlags(":8443", "")...)
	return &ucli.Command{
		Name: "api", Usage: "serve the instance API, and nothing else",
		Description: "Lets instances renew, extend and release their own leases without AWS credentials and without etcd.\n" +
			"Any number may run, behind a balancer that passes TCP. It takes no part in elections and terminates nothing;\n" +
			"of AWS it needs ec2:DescribeInstances alone. `janitor run --api-listen` serves the same.\n\n" +
			"   janitor api --api-cert api.pem --api-key api.key",
		Flags: append(flags, &ucli.StringFlag{
			Name: "listen", Usage: "serve /metrics, /healthz and /readyz at `HOST:PORT` over plain HTTP", DefaultText: "off",
		}),
		Action: serveAPIAlone,
	}
}

func serveAPIAlone(c *ucli.Context) error {
	registry.NarrowUmask()
	log, err := cli.ServiceLogger(c)
	if err != nil {
		return err
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
	clouds, err := locations(c, log, cloud.Regions(c), watched.Called)
	if err != nil {
		return err
	}
	store, closeStore, err := registry.Store(c, log)
	if err != nil {
		return err
	}
	defer closeStore()
	if _, err := store.Registry(c.Context); err != nil {
		return err
	}
	stop, err := serveAPI(c, front, known, store, clouds, watched, log)
	if err != nil {
		return err
	}
	defer stop()
	watched.Turned(0)
	notify := cli.Notifier()
	notify("READY=1")
	<-c.Done()
	notify("STOPPING=1")
	return nil
}
