package lease_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"lapse/lease"
)

func TestUserDataIsNeverShown(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ request, want string }{
		"text":    {`{"ImageId":"ami-1","UserData":"s3cret"}`, `{"ImageId":"ami-1","UserData":"6 bytes, sha256:1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0"}`},
		"binary":  {`{"UserDataBase64":"czNjcmV0"}`, `{"UserData":"6 bytes, sha256:1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0"}`},
		"none":    {`{"ImageId":"ami-1"}`, `{"ImageId":"ami-1"}`},
		"no JSON": {`{`, `{`},
	} {
		if got := string(lease.WithoutUserData(json.RawMessage(c.request))); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
		if got := string(lease.WithoutUserData(json.RawMessage(c.want))); got != c.want {
			t.Errorf("%s, once more: %s", name, got)
		}
	}
}

// TestUserDataLeavesASettledLaunch is about what only a replay needs: it may hold secrets, and whoever reads etcd or a backup
// reads it.
func TestUserDataLeavesASettledLaunch(t *testing.T) {
	t.Parallel()
	open := launched()
	open.Request = json.RawMessage(`{"ImageId":"ami-1","UserData":"s3cret"}`)
	for name, settled := range map[string]lease.Launch{
		"done": must(open.Done(noon)), "closed": must(open.Close(noon, "window over")), "closed, once done": must(must(open.Done(noon)).Close(noon, "released")),
	} {
		if bytes.Contains(settled.Request, []byte("s3cret")) || !bytes.Contains(settled.Request, []byte("6 bytes, sha256:1ec1c26b")) || !bytes.Contains(settled.Request, []byte("ami-1")) {
			t.Errorf("%s: %s", name, settled.Request)
		}
		if _, err := settled.Sending(noon); err == nil {
			t.Errorf("%s, and sent again", name)
		}
	}
	if !bytes.Contains(open.Request, []byte("s3cret")) {
		t.Error("an open launch has lost what a replay needs")
	}
}
