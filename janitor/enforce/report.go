package enforce

// Report counts what came of a plan. Ended counts what EC2 confirmed, Asked what it was asked to terminate.
type Report struct {
	Marked  int `json:"marked"`
	Asked   int `json:"asked"`
	Ended   int `json:"ended"`
	Removed int `json:"removed"` // leftovers that EC2 removed when asked, or no longer knew
	Spared  int `json:"spared"`  // to be terminated or removed by the plan, and spared on a fresh description
	Failed  int `json:"failed"`
	Held    int `json:"held"`
	Left    int `json:"left"` // to be terminated, and not begun for lack of time
}

// Add adds what came of something else.
func (r *Report) Add(other Report) {
	r.Marked += other.Marked
	r.Asked += other.Asked
	r.Ended += other.Ended
	r.Removed += other.Removed
	r.Spared += other.Spared
	r.Failed += other.Failed
	r.Held += other.Held
	r.Left += other.Left
}
