package pattern

// Error says why a pattern is not one. Its text is the one AWS answers with,
// to the letter: clients show it, and some compare it.
type Error struct {
	Reason string // the sentence, without the place

	// Location is the place, as a line of its own: a newline and
	// " at [Source: (String)…; line: 1, column: N]", twice for an error inside
	// the list of an anything-but. It is empty for the errors that AWS gives
	// no place for: those of addresses, of complexity and of a number that
	// stands alone in an anything-but.
	Location string
}

func (e *Error) Error() string {
	return "Event pattern is not valid. Reason: " + e.Reason + e.Location
}
