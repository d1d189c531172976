package main

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"lapse/lease"
)

// opened TOKEN: an open launch that was sent an hour ago, with user-data and a join token, which is in $JOIN.
func openLaunch(w *world, ts *testscript.TestScript, args []string) error {
	join, err := lease.NewJoinToken(nil)
	if err != nil {
		return err
	}
	then := time.Now().Add(-time.Hour)
	l, _ := lease.Launch{
		Schema: lease.Schema, Token: args[0], State: lease.LaunchOpen, Account: here.Account, Region: here.Region, Count: 1, Window: lease.Duration(time.Minute),
		API: "https://lapse.example.com", Request: json.RawMessage(`{"UserData":"s3cret"}`), CreatedAt: then,
	}.Next()
	if l, err = l.WithJoinToken(join).Sending(then); err != nil {
		return err
	}
	ts.Setenv("JOIN", join)
	_, err = w.store.PutLaunch(w.ctx, l)
	return err
}

// recorded LAUNCH TEXT: the record of the launch has the text.
func checkRecord(ts *testscript.TestScript, neg bool, args []string) {
	w := ts.Value("world").(*world)
	l, err := w.store.Launch(w.ctx, args[0])
	ts.Check(err)
	data, err := json.Marshal(l)
	ts.Check(err)
	if strings.Contains(string(data), args[1]) == neg {
		ts.Fatalf("the record is %s", data)
	}
}
