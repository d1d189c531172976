package main

import (
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"lapse/lease"
)

// enrol ID KEY OTHER contested: two keys of an instance that were used by turns, as the API notes it.
func enrolKeys(w *world, ts *testscript.TestScript, args []string) error {
	id, began := args[0], time.Now().Add(-time.Hour)
	_, e, err := w.store.UpdateEnrolment(w.ctx, id, func(e lease.Enrolment) (lease.Enrolment, error) {
		for n, key := range args[1:3] {
			at, err := began.Add(time.Duration(n)*time.Minute), error(nil)
			if e, err = e.Enrol(at, began, lease.EnrolledKey{SHA256: key, From: "10.0.0.1", Proof: lease.ProofLaunch}); err != nil {
				return e, err
			}
			if e, err = e.Use(at, key); err != nil {
				return e, err
			}
		}
		return e.Use(began.Add(time.Hour), args[1])
	})
	if err != nil {
		return err
	}
	if e.Contested.IsZero() != (len(args) < 4) {
		ts.Fatalf("%+v", e)
	}
	_, _, err = w.store.UpdateLease(w.ctx, id, func(l lease.Lease) (lease.Lease, error) {
		return l.Contest(time.Now(), lease.By{Actor: "instance:" + id})
	})
	return err
}
