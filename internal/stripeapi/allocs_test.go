package stripeapi_test

import "testing"

// TestPublishAllocatesLittle guards the path that carries the load. It cannot
// be parallel: allocations are counted for the whole process.
func TestPublishAllocatesLittle(t *testing.T) {
	const most = 25
	if got := testing.AllocsPerRun(200, publishOnce(t)); got > most {
		t.Errorf("%v allocations to publish an event, at most %d are meant", got, most)
	}
}
