package ec2_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"maps"
	"slices"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"lapse/lease"
	"lapse/lease/ec2"
	"lapse/lease/ec2/ec2sim"
)

// publicLine is a public key in OpenSSH's form.
func publicLine(t *testing.T) []byte {
	t.Helper()
	key, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := ssh.NewPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return ssh.MarshalAuthorizedKey(public)
}

// TestKeyPairsAsLeftovers lists, looks up and deletes key pairs where an endpoint does all that EC2 does, and where it does not.
func TestKeyPairsAsLeftovers(t *testing.T) {
	t.Parallel()
	for name, quirks := range map[string]ec2sim.Quirks{
		"EC2":                      {},
		"ignores filters":          {IgnoresFilters: true},
		"deletes by name":          {DeletesKeyPairsByName: true},
		"deletes by name, no tags": {DeletesKeyPairsByName: true, DropsTags: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, ec2sim.Config{Quirks: quirks})
			cloud := w.Cloud(t, w.AWS(), ec2.Options{})
			ids := map[string]string{}
			for _, key := range []string{"one", "two", "other"} {
				id, err := cloud.ImportKeyPair(t.Context(), key, publicLine(t), map[string]string{"k": key})
				if err != nil {
					t.Fatal(err)
				}
				ids[key] = id
			}
			listing, err := cloud.Leftovers(t.Context(), nil, []string{"one", "two", "none"})
			if err != nil || !listing.Dated {
				t.Fatalf("%+v, %v", listing, err)
			}
			found := map[string]lease.Leftover{}
			for _, x := range listing.Leftovers {
				found[x.Name] = x
			}
			if got := slices.Sorted(maps.Keys(found)); !slices.Equal(got, []string{"one", "two"}) {
				t.Errorf("found %v", got)
			}
			one := found["one"]
			if one.Kind != lease.LeftoverKeyPair || one.ID != ids["one"] || one.Print == "" || !one.Loose() || (one.Tags["k"] == "one") == quirks.DropsTags {
				t.Errorf("%+v", one)
			}
			again, err := cloud.DescribeLeftovers(t.Context(), []lease.Leftover{one})
			if err != nil || len(again.Leftovers) != 1 || again.Leftovers[0].ID != one.ID {
				t.Errorf("looked up again: %+v, %v", again, err)
			}
			for _, x := range []lease.Leftover{one, one, {Kind: lease.LeftoverKeyPair, ID: ids["one"], Name: "two"}} { // the last is not there under that name
				if err := cloud.Remove(t.Context(), x).Err; err != nil {
					t.Errorf("remove %+v: %v", x, err)
				}
			}
			var left []string
			for _, k := range w.Sim.KeyPairs() {
				left = append(left, k.Name)
			}
			if slices.Sort(left); !slices.Equal(left, []string{"other", "two"}) {
				t.Errorf("left are %v", left)
			}
		})
	}
}

// TestKeyedFindsWhatShowsAKeyPair finds instances by their key pairs, whatever their tags.
func TestKeyedFindsWhatShowsAKeyPair(t *testing.T) {
	t.Parallel()
	for name, quirks := range map[string]ec2sim.Quirks{"EC2": {}, "ignores filters": {IgnoresFilters: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, ec2sim.Config{Quirks: quirks})
			cloud := w.Cloud(t, w.AWS(), ec2.Options{})
			var names, want []string
			for n := range 250 { // more than one filter takes
				key := "key-" + string(rune('a'+n/26)) + string(rune('a'+n%26))
				names = append(names, key)
				if n%50 == 0 {
					want = append(want, w.Sim.Create(ec2sim.Instance{KeyName: key}).ID)
				}
			}
			w.Sim.Create(ec2sim.Instance{KeyName: "ada"})
			w.Sim.Create(ec2sim.Instance{})
			slices.Sort(want)
			for _, filtered := range []bool{true, false} {
				found, err := cloud.Keyed(t.Context(), names, filtered)
				if err != nil {
					t.Fatal(err)
				}
				var got []string
				for _, i := range found {
					got = append(got, i.ID)
				}
				if slices.Sort(got); !slices.Equal(got, want) {
					t.Errorf("filtered %t: found %v, want %v", filtered, got, want)
				}
			}
		})
	}
}

// TestAnInstanceIsKnownToHaveExistedSinceItsVolumesWereAttached describes an instance that was started again, which moves its
// LaunchTime.
func TestAnInstanceIsKnownToHaveExistedSinceItsVolumesWereAttached(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	cloud := w.Cloud(t, w.AWS(), ec2.Options{})
	made := time.Now().Truncate(time.Second)
	for launched, want := range map[time.Time]time.Time{made.Add(time.Hour): made, made.Add(-time.Hour): made.Add(-time.Hour)} {
		id := w.Sim.Create(ec2sim.Instance{LaunchTime: launched}).ID
		listing, err := cloud.Describe(t.Context(), []string{id})
		if err != nil {
			t.Fatal(err)
		}
		if got := listing.Instances[0]; !got.LaunchTime.Equal(launched) || got.Existed.Sub(want).Abs() > time.Minute {
			t.Errorf("launched %s: existed since %s, want %s", got.LaunchTime, got.Existed, want)
		}
	}
}
