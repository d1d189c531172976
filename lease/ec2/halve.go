package ec2

import "slices"

// halve gives ids to do, at most size of them at a time, and tells what came of it. Of a batch that EC2 refuses it gives
// both halves again, until the ids that EC2 blames stand alone: so one bad id costs O(log size) calls and spoils no
// other. An error that says nothing of the ids (throttling, a server's error, no answer, a rejected caller) is told of
// its batch and of all that was still to come, and ends it.
func halve(ids []string, size int, do func(batch []string) error, tell func(batch []string, err error, blamed bool)) {
	batches := slices.Collect(slices.Chunk(ids, size))
	for len(batches) > 0 {
		batch := batches[0]
		batches = batches[1:]
		err := do(batch)
		blamed := refused(err) && !unauthenticated(err)
		switch {
		case err == nil, blamed && len(batch) == 1:
			tell(batch, err, blamed)
		case blamed:
			half := len(batch) / 2
			batches = slices.Insert(batches, 0, batch[:half], batch[half:])
		default:
			tell(slices.Concat(append(batches, batch)...), err, false)
			return
		}
	}
}
