package lease

// Tagging is what became of one resource in a request to set tags: EC2 set them, refused this very resource, or the
// outcome is not known.
type Tagging struct {
	ID        string
	Code      string // EC2's error code if it refused this very resource; empty otherwise
	RequestID string // of the call that decided; empty if no answer came
	Err       error  // why the tags are not known to be set; nil if they are
}

// Accepted reports whether EC2 set the tags.
func (t Tagging) Accepted() bool { return t.Err == nil }

// Refused reports whether EC2 refused this very resource: it is unknown, has too many tags, or the policy forbids it.
// Neither accepted nor refused means that the call failed for all of its resources; try again.
func (t Tagging) Refused() bool { return t.Err != nil && t.Code != "" }
