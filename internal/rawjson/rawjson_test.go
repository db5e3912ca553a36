package rawjson_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/waybill-dev/waybill/internal/rawjson"
)

// paymentIntent is about 1 KB, shaped as a publisher sends it.
const paymentIntent = `{"type":"payment_intent.succeeded","data":{"object":{"id":"pi_3PqXyZ2eZvKYlo2C1gF0aBcD","object":"payment_intent","amount":2000,"amount_capturable":0,"amount_details":{"tip":{}},"amount_received":2000,"application":null,"application_fee_amount":null,"automatic_payment_methods":null,"canceled_at":null,"cancellation_reason":null,"capture_method":"automatic","client_secret":"pi_3PqXyZ2eZvKYlo2C1gF0aBcD_secret_abcdefghijklmnop","confirmation_method":"automatic","created":1718274000,"currency":"usd","customer":"cus_QHxyzABCDEFGHI","description":"Order #1042 \u2014 3 items","last_payment_error":null,"latest_charge":"ch_3PqXyZ2eZvKYlo2C1aBcDeFg","livemode":false,"metadata":{"order_id":"6735","cart":"b7d2e8d0"},"payment_method":"pm_1PqXyZ2eZvKYlo2CaBcDeFgH","payment_method_options":{"card":{"installments":null,"network":null,"request_three_d_secure":"automatic"}},"payment_method_types":["card"],"receipt_email":"jenny.rosen@example.com","setup_future_usage":null,"shipping":null,"status":"succeeded"}}}`

// scan takes data as one value and nothing else.
func scan(data []byte) ([]byte, error) {
	s := rawjson.New(data)
	raw, err := s.Raw()
	if err != nil {
		return nil, err
	}
	return raw, s.End()
}

func nest(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }

var valid = []string{
	`{}`, `[]`, `null`, `true`, `false`, `0`, `-0`, `-1.5e+10`, `1E5`, `12345678901234567890`, `""`, `"a"`,
	` { "a" : [ 1 , 2 , { } , [ ] ] , "b" : null } `, "\t\r\n[\n]\n", `{"a":1,"a":2}`,
	`"\"\\\/\b\f\n\r\t\u0041\uD83D\uDE00"`, `"\uD800"`, `"\uD800\u0041"`, `"\uD800\uD800\uDC00"`, `"\uDC00x"`, `"\uD800\n"`,
	`"é漢字😀 mixed with ASCII, long enough for several words of eight bytes"`, `"1234567é"`, `"12345678"`, `"123456789\n"`,
	`{"\u0061b":"esc in key"}`, `[[[{"a":[{"b":[]}]}]]]`, "\"\u007f\"", `"12345678\u0000"`,
	nest(rawjson.MaxDepth), paymentIntent,
}

var invalid = []struct {
	data   string
	offset int
	msg    string
}{
	{``, 0, "unexpected end of JSON"},
	{`  `, 2, "unexpected end of JSON"},
	{"\xef\xbb\xbf{}", 0, "byte order mark"},
	{`{`, 1, "unexpected end of JSON"},
	{`{"a"`, 4, "unexpected end of JSON"},
	{`{"a":`, 5, "unexpected end of JSON"},
	{`{"a":1`, 6, "unexpected end of JSON"},
	{`{"a":1,}`, 7, "expected a key"},
	{`{"a" 1}`, 5, "expected a colon"},
	{`{"a":1 "b":2}`, 7, "expected a comma or }"},
	{`{a:1}`, 1, "expected a key"},
	{`{'a':1}`, 1, "expected a key"},
	{`{1:1}`, 1, "expected a key"},
	{`{,}`, 1, "expected a key"},
	{`[1,]`, 3, "expected a value"},
	{`[,1]`, 1, "expected a value"},
	{`[1 2]`, 3, "expected a comma or ]"},
	{`[1}`, 2, "expected a comma or ]"},
	{`{"a":1]`, 6, "expected a comma or }"},
	{`[`, 1, "unexpected end of JSON"},
	{`]`, 0, "expected a value"},
	{`{} {}`, 3, "unexpected data after the value"},
	{`truex`, 4, "unexpected data after the value"},
	{`tru`, 3, "unexpected end of JSON"},
	{`nulL`, 3, "expected null"},
	{`fals}`, 4, "expected false"},
	{`True`, 0, "expected a value"},
	{`NaN`, 0, "expected a value"},
	{`+1`, 0, "expected a value"},
	{`.5`, 0, "expected a value"},
	{`01`, 1, "leading zero"},
	{`-01`, 2, "leading zero"},
	{`-`, 1, "unexpected end of JSON"},
	{`[-]`, 2, "expected a digit"},
	{`[1.]`, 3, "expected a digit"},
	{`[1e]`, 3, "expected a digit"},
	{`[1e+]`, 4, "expected a digit"},
	{`1x`, 1, "unexpected data after the value"},
	{`"`, 1, "unexpected end of JSON"},
	{`"\`, 2, "unexpected end of JSON"},
	{`"\u12`, 5, "unexpected end of JSON"},
	{`"\u12g4"`, 5, "invalid \\u escape"},
	{`"\x41"`, 2, "invalid escape"},
	{"\"a\nb\"", 2, "unescaped control character"},
	{"\"1234567\x00\"", 8, "unescaped control character"},
	{"\"0123456789abcdef\xff\"", 17, "invalid UTF-8"},
	{"\"\xc3\"", 1, "invalid UTF-8"},
	{"\"\xed\xa0\x80\"", 1, "invalid UTF-8"},
	{"\"\xc0\x80\"", 1, "invalid UTF-8"},
	{"\"é\xe9\"", 3, "invalid UTF-8"},
	{"{\"\xff\":1}", 2, "invalid UTF-8"},
	{"[1]\x00", 3, "unexpected data after the value"},
	{"[1\v]", 2, "expected a comma or ]"},
	{nest(rawjson.MaxDepth + 1), rawjson.MaxDepth, "nesting deeper"},
	{strings.Repeat(`{"a":`, 100000), rawjson.MaxDepth * 5, "nesting deeper"},
}

func TestValid(t *testing.T) {
	t.Parallel()
	for _, data := range valid {
		raw, err := scan([]byte(data))
		if err != nil {
			t.Errorf("%.60s: %v", data, err)
		} else if want := strings.Trim(data, " \t\r\n"); string(raw) != want {
			t.Errorf("%.60s: raw is %.60s", data, raw)
		}
	}
}

func TestInvalid(t *testing.T) {
	t.Parallel()
	for _, test := range invalid {
		_, err := scan([]byte(test.data))
		var syntax *rawjson.SyntaxError
		if !errors.As(err, &syntax) {
			t.Errorf("%.60q: got %v, want a syntax error", test.data, err)
			continue
		}
		if syntax.Offset != test.offset || !strings.Contains(syntax.Msg, test.msg) {
			t.Errorf("%.60q: got %q, want %q at byte %d", test.data, err, test.msg, test.offset)
		}
		// The pulling side must find the same fault.
		if _, walked := walk([]byte(test.data)); walked == nil || walked.Error() != err.Error() {
			t.Errorf("%.60q: walking says %v, Raw says %v", test.data, walked, err)
		}
	}
}

func TestErrorText(t *testing.T) {
	t.Parallel()
	_, err := scan([]byte("{\"name\":\"Jenny Ro\xff\"}"))
	if want := "invalid UTF-8 in string at byte 17"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	s := rawjson.New([]byte(`{"amount":"12"}`))
	if err := s.BeginObject(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.NextKey(); err != nil {
		t.Fatal(err)
	}
	_, err = s.Int64()
	if want := "expected integer, found string at byte 10"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestPull(t *testing.T) {
	t.Parallel()
	data := []byte(` { "id" : "evt_1" , "n" : -42 , "live" : true , "gone" : null ,
		"list" : [ 1 , "two" , [] ] , "deep" : {"a" : {"b" : [ {} ]}} , "k\u0065y" : "tab\there" } `)
	s := rawjson.New(data)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	key := func(want string) {
		t.Helper()
		got, ok, err := s.NextKey()
		if string(got) != want || !ok || err != nil {
			t.Fatalf("key %q, %t, %v, want %q", got, ok, err, want)
		}
	}
	if k := s.Kind(); k != rawjson.Object {
		t.Fatalf("kind is %v", k)
	}
	must(s.BeginObject())
	key("id")
	if id, err := s.String(); id != "evt_1" || err != nil {
		t.Fatalf("id %q, %v", id, err)
	}
	key("n")
	if s.Null() {
		t.Fatal("-42 taken for null")
	}
	if n, err := s.Int64(); n != -42 || err != nil {
		t.Fatalf("n %d, %v", n, err)
	}
	key("live")
	if live, err := s.Bool(); !live || err != nil {
		t.Fatalf("live %t, %v", live, err)
	}
	key("gone")
	if !s.Null() {
		t.Fatal("null not found")
	}
	key("list")
	must(s.BeginArray())
	var kinds []rawjson.Kind
	for {
		ok, err := s.NextElement()
		must(err)
		if !ok {
			break
		}
		kinds = append(kinds, s.Kind())
		_, err = s.Raw()
		must(err)
	}
	if want := []rawjson.Kind{rawjson.Number, rawjson.String, rawjson.Array}; !slices.Equal(kinds, want) {
		t.Fatalf("kinds are %v, want %v", kinds, want)
	}
	key("deep")
	raw, err := s.Raw()
	must(err)
	if want := `{"a" : {"b" : [ {} ]}}`; string(raw) != want {
		t.Fatalf("raw is %s", raw)
	}
	key("key")
	if text, err := s.StringBytes(); string(text) != "tab\there" || err != nil {
		t.Fatalf("text %q, %v", text, err)
	}
	if _, ok, err := s.NextKey(); ok || err != nil {
		t.Fatalf("after the last member: %t, %v", ok, err)
	}
	must(s.End())
	if s.Offset() != len(data) || s.Kind() != rawjson.EOF {
		t.Fatalf("offset %d of %d, kind %v", s.Offset(), len(data), s.Kind())
	}
}

func TestTypeErrorsLeaveTheValue(t *testing.T) {
	t.Parallel()
	asString := func(s *rawjson.Scanner) error { _, err := s.String(); return err }
	asInt := func(s *rawjson.Scanner) error { _, err := s.Int64(); return err }
	asBool := func(s *rawjson.Scanner) error { _, err := s.Bool(); return err }
	for _, test := range []struct {
		data string
		take func(*rawjson.Scanner) error
		got  string
	}{
		{`1`, asString, "number"},
		{`null`, asString, "null"},
		{`{}`, asString, "object"},
		{`"1"`, asInt, "string"},
		{`1.5`, asInt, "number with a fraction or an exponent"},
		{`1e3`, asInt, "number with a fraction or an exponent"},
		{`99999999999999999999.5`, asInt, "number with a fraction or an exponent"},
		{`9223372036854775808`, asInt, "number out of range"},
		{`-9223372036854775809`, asInt, "number out of range"},
		{`18446744073709551616`, asInt, "number out of range"},
		{`0`, asBool, "number"},
		{`[]`, (*rawjson.Scanner).BeginObject, "array"},
		{`{}`, (*rawjson.Scanner).BeginArray, "object"},
		{`true`, (*rawjson.Scanner).BeginArray, "boolean"},
	} {
		s := rawjson.New([]byte(" " + test.data))
		err := test.take(&s)
		var wrong *rawjson.TypeError
		if !errors.As(err, &wrong) || wrong.Got != test.got || wrong.Offset != 1 {
			t.Errorf("%s: got %v, want a type error about a %s", test.data, err, test.got)
		}
		if raw, err := s.Raw(); string(raw) != test.data || err != nil {
			t.Errorf("%s: the value is lost: %q, %v", test.data, raw, err)
		}
	}
	for _, test := range []struct {
		data string
		take func(*rawjson.Scanner) error
	}{{``, asString}, {`x`, asString}, {`01`, asInt}, {`-`, asInt}, {`truf`, asBool}, {`}`, asBool}, {``, asInt}} {
		s := rawjson.New([]byte(test.data))
		var syntax *rawjson.SyntaxError
		if err := test.take(&s); !errors.As(err, &syntax) {
			t.Errorf("%q: got %v, want a syntax error", test.data, err)
		}
	}
}

func TestInt64(t *testing.T) {
	t.Parallel()
	for _, want := range []int64{0, 1, -1, 1718274000, 1<<63 - 1, -1 << 63} {
		s := rawjson.New([]byte(fmt.Sprint(want)))
		if got, err := s.Int64(); got != want || err != nil {
			t.Errorf("got %d, %v, want %d", got, err, want)
		}
	}
}

func TestMisuseIsASyntaxError(t *testing.T) {
	t.Parallel()
	s := rawjson.New([]byte(`{"a":1,"b":2}`))
	if err := s.BeginObject(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.NextKey(); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := s.NextKey(); ok || err == nil {
		t.Errorf("a second key without taking the value: %t, %v", ok, err)
	}
}

func TestDepthCountsAllLevels(t *testing.T) {
	t.Parallel()
	s := rawjson.New([]byte(nest(rawjson.MaxDepth + 1)))
	for range rawjson.MaxDepth {
		if err := s.BeginArray(); err != nil {
			t.Fatal(err)
		}
		if ok, err := s.NextElement(); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	before := s
	if err := s.BeginArray(); err == nil {
		t.Error("BeginArray went too deep")
	}
	if _, err := before.Raw(); err == nil {
		t.Error("Raw went too deep")
	}
}

func TestNoAllocations(t *testing.T) {
	data := []byte(paymentIntent)
	got := testing.AllocsPerRun(100, func() {
		s := rawjson.New(data)
		if err := s.BeginObject(); err != nil {
			t.Fatal(err)
		}
		for {
			key, ok, err := s.NextKey()
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			if string(key) == "type" {
				_, err = s.StringBytes()
			} else {
				_, err = s.Raw()
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := s.End(); err != nil {
			t.Fatal(err)
		}
	})
	if got != 0 {
		t.Errorf("%v allocations", got)
	}
}

func TestAppendCompactInPlace(t *testing.T) {
	t.Parallel()
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, []byte(paymentIntent), "", "  "); err != nil {
		t.Fatal(err)
	}
	data := pretty.Bytes()
	if got := rawjson.AppendCompact(data[:0], data); string(got) != paymentIntent {
		t.Errorf("got %s", got)
	}
}

// wide is an object with n keys.
func wide(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"%d":0`, i)
	}
	return "{" + strings.TrimPrefix(b.String(), ",") + "}"
}

func TestRawForm(t *testing.T) {
	t.Parallel()
	const long = "a key of more than twenty-four bytes"
	for data, want := range map[string]rawjson.Form{
		`{"a":1}`: {Compact: true, Distinct: true},
		`{"":1,"a":1,"aa":1,"aaaaaaaaa":1,"aaaaaaaa":1}`: {Compact: true, Distinct: true},
		` {"a":" "} `:                          {Compact: true, Distinct: true},
		`{"a" :1}`:                             {Distinct: true},
		`{"a": 1}`:                             {Distinct: true},
		`[1,[ ]]`:                              {Distinct: true},
		"[1,\n2]":                              {Distinct: true},
		`{"a":1, "b":2}`:                       {Distinct: true},
		`{"a":{"a":[{"a":1},{"a":2}]}}`:        {Compact: true, Distinct: true},
		`{"a":{"b":1},"b":{"a":1}}`:            {Compact: true, Distinct: true},
		`{"a":1,"a":1}`:                        {Compact: true},
		`{"a":1,"b":{"a":1,"c":{}},"a":1}`:     {Compact: true},
		`[{"x":[{"a":1,"b":2,"a":3}]}]`:        {Compact: true},
		`{"a.b":1}`:                            {Compact: true},
		`{"\u0061":1,"a":1}`:                   {Compact: true},
		`{"` + long + `":1,"` + long + `!":1}`: {Compact: true, Distinct: true},
		`{"` + long + `":1,"x":1,"` + long + `":1}`:           {Compact: true},
		`{"a key with a. dot not at its ends, but inside":1}`: {Compact: true},
		`{"twenty letters.of key":1}`:                         {Compact: true},
		paymentIntent:                                         {Compact: true, Distinct: true},
		wide(64):                                              {Compact: true, Distinct: true},
		wide(65):                                              {Compact: true}, // not looked into
		"[" + wide(60) + "," + wide(60) + "]":                 {Compact: true, Distinct: true},
		strings.Repeat(`{"a":`, 16) + "1" + strings.Repeat("}", 16):   {Compact: true, Distinct: true},
		strings.Repeat(`{"a":`, 17) + "1" + strings.Repeat("}", 17):   {Compact: true},
		strings.Repeat(`{"a":`, 200) + "1" + strings.Repeat("}", 200): {Compact: true},
	} {
		s := rawjson.New([]byte(data))
		if _, got, err := s.RawForm(); err != nil || got != want {
			t.Errorf("%.80s: got %+v, %v, want %+v", data, got, err, want)
		}
	}
}

// paths counts the members that keys joined by dots lead to, of v as walk makes
// it. Members in arrays count once for all elements.
func paths(v any, at string, into map[string]int) map[string]int {
	switch v := v.(type) {
	case []member:
		for _, m := range v {
			path := at + "." + m.Key
			into[path]++
			paths(m.Value, path, into)
		}
	case []any:
		most := map[string]int{}
		for _, element := range v {
			for path, n := range paths(element, at, map[string]int{}) {
				most[path] = max(most[path], n)
			}
		}
		for path, n := range most {
			into[path] += n
		}
	}
	return into
}

// walk takes data apart with the pulling methods only, into what encoding/json
// makes of it when it is told to use json.Number. An object becomes a list of
// its members, so that their order and doubles count.
func walk(data []byte) (any, error) {
	s := rawjson.New(data)
	v, err := walkValue(&s)
	if err != nil {
		return nil, err
	}
	return v, s.End()
}

type member struct {
	Key   string
	Value any
}

func walkValue(s *rawjson.Scanner) (any, error) {
	switch s.Kind() {
	case rawjson.Object:
		if err := s.BeginObject(); err != nil {
			return nil, err
		}
		members := []member{}
		for {
			key, ok, err := s.NextKey()
			if err != nil || !ok {
				return members, err
			}
			name := string(key)
			v, err := walkValue(s)
			if err != nil {
				return nil, err
			}
			members = append(members, member{name, v})
		}
	case rawjson.Array:
		if err := s.BeginArray(); err != nil {
			return nil, err
		}
		elements := []any{}
		for {
			ok, err := s.NextElement()
			if err != nil || !ok {
				return elements, err
			}
			v, err := walkValue(s)
			if err != nil {
				return nil, err
			}
			elements = append(elements, v)
		}
	case rawjson.String:
		return s.String()
	case rawjson.Bool:
		return s.Bool()
	case rawjson.Null:
		if s.Null() {
			return nil, nil
		}
	}
	raw, err := s.Raw()
	return json.Number(raw), err
}

// decode is walk by encoding/json's tokens.
func decode(data []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	v, err := decodeValue(d)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more data")
	}
	return v, nil
}

func decodeValue(d *json.Decoder) (any, error) {
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch token {
	case json.Delim('{'):
		members := []member{}
		for d.More() {
			key, err := d.Token()
			if err != nil {
				return nil, err
			}
			v, err := decodeValue(d)
			if err != nil {
				return nil, err
			}
			members = append(members, member{key.(string), v})
		}
		_, err := d.Token()
		return members, err
	case json.Delim('['):
		elements := []any{}
		for d.More() {
			v, err := decodeValue(d)
			if err != nil {
				return nil, err
			}
			elements = append(elements, v)
		}
		_, err := d.Token()
		return elements, err
	}
	return token, nil
}

// depth is how deeply valid JSON nests.
func depth(data []byte) int {
	deepest, now, inString := 0, 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case c == '"':
			inString = !inString
		case inString && c == '\\':
			i++
		case inString:
		case c == '{' || c == '[':
			now++
			deepest = max(deepest, now)
		case c == '}' || c == ']':
			now--
		}
	}
	return deepest
}

func seed(f *testing.F) {
	for _, data := range valid {
		f.Add([]byte(data))
	}
	for _, test := range invalid {
		f.Add([]byte(test.data))
	}
}

func FuzzScanner(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		before := bytes.Clone(data)
		_, err := scan(data)
		if want := json.Valid(data) && utf8.Valid(data) && depth(data) <= rawjson.MaxDepth; (err == nil) != want {
			t.Fatalf("%q: got %v, valid is %t", data, err, want)
		}
		got, walked := walk(data)
		if (walked == nil) != (err == nil) {
			t.Fatalf("%q: Raw says %v, walking says %v", data, err, walked)
		}
		if !bytes.Equal(data, before) {
			t.Fatal("the data was changed")
		}
		if err != nil {
			var syntax *rawjson.SyntaxError
			if !errors.As(err, &syntax) || syntax.Offset < 0 || syntax.Offset > len(data) {
				t.Fatalf("%q: bad error %#v", data, err)
			}
			if walked.Error() != err.Error() {
				t.Fatalf("%q: Raw says %v, walking says %v", data, err, walked)
			}
			return
		}
		want, err := decode(data)
		if err != nil {
			t.Fatal(err)
		}
		if g, w := fmt.Sprintf("%#v", got), fmt.Sprintf("%#v", want); g != w {
			t.Fatalf("%q:\n got %s\nwant %s", data, g, w)
		}
	})
}

func FuzzRawForm(f *testing.F) {
	seed(f)
	for _, data := range []string{`{"a":{"b":1},"a.b":2}`, `{"a":[{"b":1},{"b":2}],"a.b":3}`, `{"0123456789abcdefg":1,"0123456789abcdefg":2}`} {
		f.Add([]byte(data))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s := rawjson.New(data)
		raw, form, err := s.RawForm()
		if err != nil {
			return
		}
		if compact := rawjson.AppendCompact(nil, raw); form.Compact != bytes.Equal(compact, raw) {
			t.Fatalf("%q: compact is %v", raw, form.Compact)
		}
		if !form.Distinct {
			return
		}
		v, err := walk(raw)
		if err != nil {
			t.Fatal(err)
		}
		for path, n := range paths(v, "", map[string]int{}) {
			if n > 1 {
				t.Fatalf("%q: %s is there %d times", raw, path, n)
			}
		}
	})
}

func FuzzCompact(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		got := rawjson.AppendCompact([]byte("x"), data) // must not panic, whatever it is given
		if _, err := scan(data); err != nil {
			return
		}
		var want bytes.Buffer
		if err := json.Compact(&want, data); err != nil {
			t.Fatal(err)
		}
		if string(got) != "x"+want.String() {
			t.Fatalf("got %s, want x%s", got, want.Bytes())
		}
		if in := rawjson.AppendCompact(data[:0:len(data)], bytes.Clone(data)); !bytes.Equal(in, want.Bytes()) {
			t.Fatalf("got %s, want %s", in, want.Bytes())
		}
	})
}

func BenchmarkRaw(b *testing.B) {
	benchmark(b, func(data []byte) bool { _, err := scan(data); return err == nil })
}

func BenchmarkRawForm(b *testing.B) {
	benchmark(b, func(data []byte) bool {
		s := rawjson.New(data)
		_, form, err := s.RawForm()
		return err == nil && form.Distinct
	})
}

func BenchmarkJSONValid(b *testing.B) { benchmark(b, json.Valid) }

func BenchmarkAppendCompact(b *testing.B) {
	dst := make([]byte, 0, 4096)
	benchmark(b, func(data []byte) bool { dst = rawjson.AppendCompact(dst[:0], data); return true })
}

func benchmark(b *testing.B, f func([]byte) bool) {
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, []byte(paymentIntent), "", "  "); err != nil {
		b.Fatal(err)
	}
	for _, in := range []struct {
		name string
		data []byte
	}{{"compact", []byte(paymentIntent)}, {"indented", pretty.Bytes()}} {
		b.Run(in.name, func(b *testing.B) {
			b.SetBytes(int64(len(in.data)))
			b.ReportAllocs()
			for b.Loop() {
				if !f(in.data) {
					b.Fatal("refused")
				}
			}
		})
	}
}
