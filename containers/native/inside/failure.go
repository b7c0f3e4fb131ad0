package inside

// Failure is why a sandbox could not be made or its payload not be started.
type Failure struct {
	// Spec is true where what was asked for is to blame: asking again is of
	// no use.
	Spec bool
	// Text says what, where and why.
	Text string
}

func (f *Failure) Error() string { return f.Text }

// wrong is a Failure that is not the spec's fault; nil when err is nil.
func wrong(what string, err error) error {
	if err == nil {
		return nil
	}
	return &Failure{Text: what + ": " + err.Error()}
}

// blame is a Failure that is the spec's fault; nil when err is nil.
func blame(what string, err error) error {
	if err == nil {
		return nil
	}
	return &Failure{Spec: true, Text: what + ": " + err.Error()}
}
