package ec2

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"lapse/lease"
)

// MaxTerminate is how many instances one TerminateInstances call names at most.
const MaxTerminate = 50

// pacedMax is how long Terminate waits for EC2's limits, in all: what was decided about the instances must stay fresh.
const pacedMax = 5 * time.Second

// Reserve waits until EC2's limits allow a call of [Cloud.Terminate] for n instances, and reserves it.
func (c *Cloud) Reserve(ctx context.Context, n int) error {
	if err := c.pace.terminate(ctx, n); err != nil {
		return fmt.Errorf("wait for EC2's limits: %w", err)
	}
	return nil
}

// Terminate terminates instances, for which the caller has made a reservation, and returns one [lease.Termination] for each
// id, in the order given. Give ids of one zone: a protected instance keeps all others of its zone, and only those, from being
// terminated by the same call, although the call fails as a whole.
//
// Calls beyond the reserved one wait for EC2's limits, 5 s at most in all; what comes later fails, to be tried again.
//
// A call that EC2 refuses is halved until the ids that it blames stand alone, so one bad or protected id costs
// O(log n) calls and spares nobody else. A call that fails for another reason (throttling, a server's error, no answer,
// a rejected caller) decides nothing: it and all that was still to come get its error.
//
// Source: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_TerminateInstances.html
func (c *Cloud) Terminate(ctx context.Context, ids []string) []lease.Termination {
	fates := make(map[string]lease.Termination, len(ids))
	waiting, cancel := context.WithTimeout(ctx, pacedMax)
	defer cancel()
	reserved := true
	var states map[string]lease.InstanceState
	var requestID string
	halve(ids, MaxTerminate, func(batch []string) (err error) {
		if !reserved {
			err = c.Reserve(waiting, len(batch))
		}
		if reserved = false; err == nil {
			states, requestID, err = c.terminate(ctx, batch)
		}
		return err
	}, func(batch []string, err error, blamed bool) {
		for _, id := range batch {
			switch {
			case err == nil:
				fates[id] = accepted(id, states, requestID)
			case blamed:
				fates[id] = lease.Termination{ID: id, Code: codeOf(err), RequestID: requestIDOf(err), Err: err}
			default:
				fates[id] = lease.Termination{ID: id, RequestID: requestIDOf(err), Err: err}
			}
		}
	})
	terminations := make([]lease.Termination, 0, len(ids))
	for _, id := range ids {
		terminations = append(terminations, fates[id])
	}
	return terminations
}

// accepted reads one id's fate from an answer without error.
func accepted(id string, states map[string]lease.InstanceState, requestID string) lease.Termination {
	t := lease.Termination{ID: id, State: states[id], RequestID: requestID}
	if t.State == "" {
		t.Err = fmt.Errorf("terminate %s: EC2's answer does not mention it", id)
	}
	return t
}

// terminate makes one call.
func (c *Cloud) terminate(ctx context.Context, ids []string) (map[string]lease.InstanceState, string, error) {
	bounded, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	out, err := c.ec2.TerminateInstances(bounded, &ec2.TerminateInstancesInput{InstanceIds: ids})
	if err != nil {
		return nil, "", failed(ctx, "terminate instances", err)
	}
	states := make(map[string]lease.InstanceState, len(ids))
	for _, change := range out.TerminatingInstances {
		if change.CurrentState != nil {
			states[aws.ToString(change.InstanceId)] = lease.InstanceState(change.CurrentState.Name)
		}
	}
	requestID, _ := awsmiddleware.GetRequestIDMetadata(out.ResultMetadata)
	return states, requestID, nil
}
