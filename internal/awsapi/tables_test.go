package awsapi

import "testing"

// A service is made of several tables: none may hide an operation of another.
// The models of EventBridge and SQS have as many as this.
func TestTables(t *testing.T) {
	t.Parallel()
	a := newAPI(Options{})
	bus, more := a.eventsBusOperations(), a.eventsMoreOperations()
	for name := range bus {
		if more[name] != nil {
			t.Errorf("%s is there twice", name)
		}
	}
	services := a.tables()
	for target, want := range map[string]int{"AWSEvents": 57, sqsTarget: 23, "Logs_20140328": 10} {
		if got := len(services[target].operations); got != want {
			t.Errorf("%s has %d operations, want %d", target, got, want)
		}
	}
	for target, s := range services {
		for name, run := range s.operations {
			if run == nil {
				t.Errorf("%s.%s is nil", target, name)
			}
		}
	}
}
