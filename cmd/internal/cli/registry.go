package cli

import (
	"github.com/urfave/cli/v2"

	"lapse/lease"
)

// DefaultEndpoint is where `janitor run --embedded-etcd` serves by default.
const DefaultEndpoint = "unix:///var/lib/lapse/etcd.sock"

// StoreFlags say where the registry is.
func StoreFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{
			Name: "etcd-endpoints", Usage: "connect to etcd at `URL`, or several with commas",
			Value: cli.NewStringSlice(DefaultEndpoint),
		},
		&cli.StringFlag{Name: "etcd-cacert", Usage: "verify etcd with the CA certificates in `FILE`", Category: registryFlags},
		&cli.StringFlag{Name: "etcd-cert", Usage: "authenticate to etcd with the certificate in `FILE`", Category: registryFlags},
		&cli.StringFlag{Name: "etcd-key", Usage: "read the key of --etcd-cert from `FILE`", Category: registryFlags},
		&cli.StringFlag{Name: "namespace", Value: "default", Usage: "use the registry `NAME` in etcd", Category: registryFlags},
	}
}

// AccountFlag takes the place of what STS says.
func AccountFlag() cli.Flag {
	return &cli.StringFlag{Name: "account", Usage: "use account `ID` where a custom endpoint has no STS", Category: OtherFlags}
}

// Registry is what a program can do that opens the registry in etcd itself. One that does not links no etcd client, and is
// small.
type Registry struct {
	// Explain adds to an error of etcd what to do about it, and its exit code. It leaves others alone.
	Explain func(error) error
	// Snapshot reads the registry that the flags name, for completions.
	Snapshot func(*cli.Context) (lease.Snapshot, error)
}

const registryKey = "registry"

// Opens gives a program its way to the registry.
func Opens(app *cli.App, r Registry) {
	if app.Metadata == nil {
		app.Metadata = map[string]any{}
	}
	app.Metadata[registryKey] = r
}

// explain is what the program's registry adds to an error.
func explain(app *cli.App, err error) error {
	if r, opens := app.Metadata[registryKey].(Registry); opens {
		return r.Explain(err)
	}
	return err
}
