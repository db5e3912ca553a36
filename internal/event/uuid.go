package event

import (
	"crypto/rand"
	"fmt"
)

// UUID is a random (version 4) one, where AWS's protocols have such an id.
type UUID [16]byte

// NewUUID makes one.
func NewUUID() (id UUID) {
	_, _ = rand.Read(id[:]) // never fails
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id
}

func (id UUID) String() string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}
