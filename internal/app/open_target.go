package app

import (
	"fmt"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/target"
)

// openers finds the opener of a kind of target.
type openers map[event.TargetKind]target.Opener

func (o openers) open(t event.Target) (target.Target, error) {
	open := o[t.Kind]
	if open == nil {
		return nil, fmt.Errorf("open target: this installation has no targets of the kind %q", t.Kind)
	}
	return open(t)
}
