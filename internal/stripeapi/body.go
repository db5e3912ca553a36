package stripeapi

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/rawjson"
)

// field reads one member of an object in a request body. path names it.
type field func(s *rawjson.Scanner, path string) error

// fields are the members that an object may have.
type fields map[string]field

// readJSON reads the body of an API v2 request. No body is an empty object:
// that is what the CLI sends where the SDKs send {}.
func (c *call) readJSON(known fields) error {
	if err := c.noQuery(); err != nil {
		return err
	}
	body, err := c.readBody(nil)
	if err != nil {
		return err
	}
	s := rawjson.New(body)
	if s.Kind() == rawjson.EOF {
		return nil
	}
	if err := readObject(&s, "", c.noting(known)); err != nil {
		return err
	}
	return badJSON("", s.End())
}

// readObject reads an object whose members are all known, each at most once.
func readObject(s *rawjson.Scanner, path string, known fields) error {
	if err := s.BeginObject(); err != nil {
		return badJSON(path, err)
	}
	var seen []string
	for {
		key, ok, err := s.NextKey()
		if err != nil {
			return badJSON(path, err)
		}
		if !ok {
			return nil
		}
		name := string(key)
		at := join(path, cutText(name))
		if slices.Contains(seen, name) {
			return duplicate(at)
		}
		seen = append(seen, name)
		read := known[name]
		if read == nil {
			return unknown(at, known)
		}
		if err := badJSON(at, read(s, at)); err != nil {
			return err
		}
	}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func duplicate(at string) error {
	return fault.Invalidf(at, "The parameter is there more than once. Send it once.")
}

func unknown(at string, known fields) error {
	names := make([]string, 0, len(known))
	for name := range known {
		names = append(names, name)
	}
	if len(names) == 0 {
		return fault.Invalidf(at, "This parameter is unknown; none are possible here. Leave it out.")
	}
	slices.Sort(names)
	return fault.Invalidf(at, "This parameter is unknown here. Those possible are: %s.", strings.Join(names, ", "))
}

// badJSON gives a scanner's error the form a user sees: what was wanted of the
// member at path, or where the body is not JSON. Faults pass, and so does nil.
func badJSON(path string, err error) error {
	var wrong *rawjson.TypeError
	if errors.As(err, &wrong) {
		if path == "" {
			return fault.Invalidf("", "The request body must be a JSON %s, but is: %s.", wrong.Want, wrong.Got)
		}
		return fault.Invalidf(path, "Expected: %s. Found: %s.", wrong.Want, wrong.Got)
	}
	var syntax *rawjson.SyntaxError
	if errors.As(err, &syntax) {
		return fault.Invalidf("", "The request body is not valid JSON: %s.", syntax.Error())
	}
	return err
}

// text reads a string.
func text(into *string) field {
	return func(s *rawjson.Scanner, _ string) (err error) {
		*into, err = s.String()
		return err
	}
}

// textPtr reads a string that may stay as it is.
func textPtr(into **string) field {
	return func(s *rawjson.Scanner, _ string) error {
		v, err := s.String()
		*into = &v
		return err
	}
}

// orNull lets null stand for a member that is not there.
func orNull(read field) field {
	return func(s *rawjson.Scanner, path string) error {
		if s.Null() {
			return nil
		}
		return read(s, path)
	}
}

// object reads a nested object.
func object(known fields) field {
	return func(s *rawjson.Scanner, path string) error { return readObject(s, path, known) }
}

// texts reads an array of strings, empty but not nil if it has none.
func texts(into *[]string) field {
	return func(s *rawjson.Scanner, path string) error {
		*into = []string{}
		return readArray(s, path, func(at string) error {
			v, err := s.String()
			*into = append(*into, v)
			return badJSON(at, err)
		})
	}
}

// integers reads an array of integers, empty but not nil if it has none.
func integers(into *[]int64) field {
	return func(s *rawjson.Scanner, path string) error {
		*into = []int64{}
		return readArray(s, path, func(at string) error {
			v, err := s.Int64()
			*into = append(*into, v)
			return badJSON(at, err)
		})
	}
}

func readArray(s *rawjson.Scanner, path string, element func(at string) error) error {
	if err := s.BeginArray(); err != nil {
		return badJSON(path, err)
	}
	for i := 0; ; i++ {
		ok, err := s.NextElement()
		if err != nil {
			return badJSON(path, err)
		}
		if !ok {
			return nil
		}
		if err := element(path + "[" + strconv.Itoa(i) + "]"); err != nil {
			return err
		}
	}
}

// metadata reads an object of strings; null is a key to remove.
func metadata(into *map[string]*string) field {
	return func(s *rawjson.Scanner, path string) error {
		if err := s.BeginObject(); err != nil {
			return badJSON(path, err)
		}
		*into = make(map[string]*string)
		for {
			key, ok, err := s.NextKey()
			if err != nil {
				return badJSON(path, err)
			}
			if !ok {
				return nil
			}
			name := string(key)
			at := join(path, cutText(name))
			if _, again := (*into)[name]; again {
				return duplicate(at)
			}
			(*into)[name] = nil
			if s.Null() {
				continue
			}
			v, err := s.String()
			if err != nil {
				return badJSON(at, err)
			}
			(*into)[name] = &v
		}
	}
}
