package account

// Remembered returns how many good and unknown keys are in memory.
func (s *Service) Remembered() (known, unknown int) {
	s.unknown.mu.Lock()
	defer s.unknown.mu.Unlock()
	return len(s.known.load()), len(s.unknown.set)
}
