package identity_test

import (
	"encoding/base64"
	"errors"
	"testing"

	"lapse/lease/api/identity"
)

// TestNestedElementsCostLittle refuses elements inside each other, each of which says its length: whoever has proved nothing may send
// them, and every Region that is swept reads them.
func TestNestedElementsCostLittle(t *testing.T) {
	known, err := identity.AWS()
	if err != nil {
		t.Fatal(err)
	}
	const most = 3000
	nested := []byte{5, 0}
	for range most {
		switch n := len(nested); {
		case n < 0x80:
			nested = append([]byte{0x30, byte(n)}, nested...)
		case n < 0x100:
			nested = append([]byte{0x30, 0x81, byte(n)}, nested...)
		default:
			nested = append([]byte{0x30, 0x82, byte(n >> 8), byte(n)}, nested...)
		}
	}
	signed := []byte(base64.StdEncoding.EncodeToString(nested))
	var refused *identity.RefusedError
	allocated := testing.AllocsPerRun(3, func() {
		if _, err := known.Verify(here, signed); !errors.As(err, &refused) || refused.Why != identity.RefusedForm {
			t.Errorf("%v; want it refused for its form", err)
		}
	})
	if len(signed) > identity.Max || allocated > most/10 {
		t.Errorf("%d bytes cost %.0f allocations", len(signed), allocated)
	}
}
