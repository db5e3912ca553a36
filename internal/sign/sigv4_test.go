package sign

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// The key, the time and the scope of AWS's published test suite.
const (
	suiteKeyID  = "AKIDEXAMPLE"
	suiteSecret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
)

var suiteTime = time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC)

// parse reads a request the way a server does.
func parse(t *testing.T, raw string) (*http.Request, []byte) {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(strings.ReplaceAll(raw, "\n", "\r\n"))))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r, body
}

func TestSigV4PublishedVectors(t *testing.T) {
	t.Parallel()
	const host = "Host:example.amazonaws.com\nX-Amz-Date:20150830T123600Z\n"
	for _, test := range []struct {
		name, request, service, signed, signature string
	}{
		{
			"get-vanilla", "GET / HTTP/1.1\n" + host,
			"service", "host;x-amz-date", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
		},
		{
			"post-vanilla", "POST / HTTP/1.1\n" + host,
			"service", "host;x-amz-date", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
		},
		{
			"get-vanilla-query-order-key-case", "GET /?Param2=value2&Param1=value1 HTTP/1.1\n" + host,
			"service", "host;x-amz-date", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
		},
		{
			"post-x-www-form-urlencoded", "POST / HTTP/1.1\nContent-Type:application/x-www-form-urlencoded\nContent-Length: 13\n" + host + "\nParam1=value1",
			"service", "content-type;host;x-amz-date", "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
		},
		{
			"IAM ListUsers, from the reference", "GET /?Action=ListUsers&Version=2010-05-08 HTTP/1.1\nContent-Type: application/x-www-form-urlencoded; charset=utf-8\nHost: iam.amazonaws.com\nX-Amz-Date: 20150830T123600Z\n",
			"iam", "content-type;host;x-amz-date", "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			head, body, _ := strings.Cut(test.request, "\n\n")
			head = strings.TrimSuffix(head, "\n")
			authorization := fmt.Sprintf("Authorization: AWS4-HMAC-SHA256 Credential=%s/20150830/us-east-1/%s/aws4_request, SignedHeaders=%s, Signature=%s",
				suiteKeyID, test.service, test.signed, test.signature)
			r, b := parse(t, head+"\n"+authorization+"\n\n"+body)
			for range 2 { // the second time with a cached key
				if err := VerifySigV4(r, b, suiteSecret, suiteTime); err != nil {
					t.Error(err)
				}
			}

			signed := r.Header.Get("Authorization")
			r.Header.Del("Authorization")
			SignSigV4(r, b, suiteKeyID, suiteSecret, "us-east-1", test.service, suiteTime)
			if got := r.Header.Get("Authorization"); got != signed {
				t.Errorf("signed\n%s, want\n%s", got, signed)
			}
		})
	}
}

func TestParseSigV4(t *testing.T) {
	t.Parallel()
	r, _ := parse(t, "POST / HTTP/1.1\nHost: h\nX-Amz-Date: 20150830T123600Z\n"+
		"Authorization: AWS4-HMAC-SHA256 Credential=AK/20150830/eu-west-1/events/aws4_request,SignedHeaders=host;x-amz-date,Signature=abc\n\n")
	got, err := ParseSigV4(r)
	if err != nil {
		t.Fatal(err)
	}
	want := SigV4{
		AccessKeyID: "AK", Date: "20150830", Region: "eu-west-1", Service: "events",
		SignedHeaders: "host;x-amz-date", Signature: "abc", Time: suiteTime, stamp: "20150830T123600Z",
	}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// signedPut is a request as an SDK sends it.
func signedPut(secret string, at time.Time) (*http.Request, []byte) {
	body := []byte(`{"Entries":[{"Source":"a","DetailType":"b","Detail":"{}"}]}`)
	r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1:4010/", nil)
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "AWSEvents.PutEvents")
	SignSigV4(r, body, "AKIA1", secret, "us-east-1", "events", at)
	return r, body
}

func TestVerifySigV4Refuses(t *testing.T) {
	t.Parallel()
	replaceAuth := func(old, replacement string) func(*http.Request) {
		return func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), old, replacement, 1))
		}
	}
	for _, test := range []struct {
		name   string
		tamper func(*http.Request)
		body   string // if not the one signed
		at     time.Duration
		secret string // if not the one signed with
		want   error
		text   string // that the error must hold
	}{
		{name: "nothing wrong"},
		{name: "almost too old", at: SigV4MaxSkew},
		{name: "almost too new", at: -SigV4MaxSkew},
		{
			name: "too old", at: SigV4MaxSkew + time.Second, want: ErrSigV4Skew,
			text: "Signature expired: 20150830T123600Z is now earlier than 20150830T123601Z (20150830T125101Z - 15 min.)",
		},
		{
			name: "too new", at: -SigV4MaxSkew - time.Second, want: ErrSigV4Skew,
			text: "Signature not yet current: 20150830T123600Z is still later than 20150830T123559Z (20150830T122059Z + 15 min.)",
		},
		{name: "no header", tamper: func(r *http.Request) { r.Header.Del("Authorization") }, want: ErrSigV4Missing},
		{name: "another kind", tamper: func(r *http.Request) { r.Header.Set("Authorization", "Bearer x") }, want: ErrSigV4Missing},
		{name: "a longer algorithm", tamper: replaceAuth("SHA256", "SHA256X"), want: ErrSigV4Missing},
		{name: "no signature", tamper: replaceAuth("Signature=", "S="), want: ErrSigV4Incomplete, text: "'Signature' parameter"},
		{name: "no credential", tamper: replaceAuth("Credential=", "C="), want: ErrSigV4Incomplete, text: "'Credential' parameter"},
		{name: "no signed headers", tamper: replaceAuth("SignedHeaders=", "S="), want: ErrSigV4Incomplete, text: "'SignedHeaders' parameter"},
		{name: "no date", tamper: func(r *http.Request) { r.Header.Del("X-Amz-Date") }, want: ErrSigV4Incomplete, text: "'X-Amz-Date' or a 'Date'"},
		{name: "date in another form", tamper: func(r *http.Request) { r.Header.Set("X-Amz-Date", "2015-08-30T12:36:00Z") }, want: ErrSigV4Incomplete},
		{name: "date with a fraction", tamper: func(r *http.Request) { r.Header.Set("X-Amz-Date", "20150830T123600.5Z") }, want: ErrSigV4Incomplete},
		{name: "four elements", tamper: replaceAuth("AKIA1/", ""), want: ErrSigV4Incomplete, text: "5 slash-delimited"},
		{name: "six elements", tamper: replaceAuth("AKIA1/", "AKIA1/x/"), want: ErrSigV4Incomplete, text: "5 slash-delimited"},
		{name: "another day", tamper: replaceAuth("/20150830/", "/20150829/"), want: ErrSigV4Mismatch, text: "'20150829' != '20150830'"},
		{name: "another terminator", tamper: replaceAuth("aws4_request", "aws5_request"), want: ErrSigV4Mismatch, text: "terminator"},
		{name: "another region", tamper: replaceAuth("us-east-1", "us-east-2"), want: ErrSigV4Mismatch},
		{name: "another service", tamper: replaceAuth("/events/", "/sqs/"), want: ErrSigV4Mismatch},
		{name: "host not signed", tamper: replaceAuth(";host;", ";"), want: ErrSigV4Mismatch, text: "'Host'"},
		{name: "target not signed", tamper: replaceAuth(";x-amz-target", ""), want: ErrSigV4Mismatch, text: "'X-Amz-Target'"},
		{name: "signature cut off", tamper: func(r *http.Request) {
			a := r.Header.Get("Authorization")
			r.Header.Set("Authorization", a[:len(a)-1])
		}, want: ErrSigV4Mismatch},
		{name: "another target", tamper: func(r *http.Request) { r.Header.Set("X-Amz-Target", "AWSEvents.DeleteRule") }, want: ErrSigV4Mismatch},
		{name: "a second target", tamper: func(r *http.Request) { r.Header.Add("X-Amz-Target", "AWSEvents.DeleteRule") }, want: ErrSigV4Mismatch},
		{name: "another host", tamper: func(r *http.Request) { r.Host = "elsewhere" }, want: ErrSigV4Mismatch},
		{name: "another method", tamper: func(r *http.Request) { r.Method = http.MethodPut }, want: ErrSigV4Mismatch},
		{name: "another path", tamper: func(r *http.Request) { r.URL.Path = "/x" }, want: ErrSigV4Mismatch},
		{name: "another query", tamper: func(r *http.Request) { r.URL.RawQuery = "a" }, want: ErrSigV4Mismatch},
		{name: "another body", body: "{}", want: ErrSigV4Mismatch, text: "does not match the signature you provided"},
		{name: "another secret", secret: "other", want: ErrSigV4Mismatch},
		{name: "payload declared unsigned", body: "{}", want: ErrSigV4Mismatch, tamper: func(r *http.Request) {
			r.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r, body := signedPut("s3cret", suiteTime)
			// A key that is cached must not let anything through.
			if err := VerifySigV4(r, body, "s3cret", suiteTime); err != nil {
				t.Fatal(err)
			}
			if test.tamper != nil {
				test.tamper(r)
			}
			if test.body != "" {
				body = []byte(test.body)
			}
			secret := "s3cret"
			if test.secret != "" {
				secret = test.secret
			}
			err := VerifySigV4(r, body, secret, suiteTime.Add(test.at))
			if !errors.Is(err, test.want) {
				t.Fatalf("%v, want %v", err, test.want)
			}
			if err != nil && !strings.Contains(err.Error(), test.text) {
				t.Errorf("%q does not say %q", err, test.text)
			}
		})
	}
}

func TestVerifySigV4WithoutSecret(t *testing.T) {
	t.Parallel()
	r, body := signedPut("", suiteTime)
	if err := VerifySigV4(r, body, "", suiteTime); !errors.Is(err, ErrNoSecret) {
		t.Errorf("signed with nothing: %v", err)
	}
}

// Old clients send Date instead of X-Amz-Date.
func TestVerifySigV4TakesTheDateHeader(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest(http.MethodGet, "http://h/", nil)
	r.Header.Set("Date", suiteTime.Format(http.TimeFormat))
	s := SigV4{
		AccessKeyID: "AK", Date: "20150830", Region: "r", Service: "events",
		SignedHeaders: "date;host", stamp: suiteTime.Format(sigV4Time),
	}
	key := deriveSigV4("s", s.Date, s.Region, s.Service)
	signature := s.compute(&key, r, nil)
	r.Header.Set("Authorization", fmt.Sprintf("AWS4-HMAC-SHA256 Credential=AK/20150830/r/events/aws4_request, SignedHeaders=date;host, Signature=%s", signature))
	if err := VerifySigV4(r, nil, "s", suiteTime); err != nil {
		t.Error(err)
	}
	r.Header.Set("Date", suiteTime.Add(time.Second).Format(http.TimeFormat))
	if err := VerifySigV4(r, nil, "s", suiteTime); !errors.Is(err, ErrSigV4Mismatch) {
		t.Errorf("another date: %v", err)
	}
}

func TestVerifySigV4Presigned(t *testing.T) {
	t.Parallel()
	presign := func(expires string) *http.Request {
		r := httptest.NewRequest(http.MethodGet, "http://h/queue?Action=ReceiveMessage&b=1&a=x%20y+z&X-Amz-Algorithm=AWS4-HMAC-SHA256"+
			"&X-Amz-Credential=AK%2F20150830%2Fr%2Fsqs%2Faws4_request&X-Amz-Date=20150830T123600Z&X-Amz-SignedHeaders=host&X-Amz-Expires="+expires, nil)
		s := SigV4{
			AccessKeyID: "AK", Date: "20150830", Region: "r", Service: "sqs",
			SignedHeaders: "host", stamp: "20150830T123600Z", expires: 1,
		}
		key := deriveSigV4("s", s.Date, s.Region, s.Service)
		signature := s.compute(&key, r, nil)
		r.URL.RawQuery += "&X-Amz-Signature=" + string(signature[:])
		return r
	}
	for _, test := range []struct {
		expires string
		at      time.Duration
		want    error
	}{
		{"3600", 0, nil},
		{"3600", time.Hour, nil},
		{"3600", time.Hour + time.Second, ErrSigV4Skew},
		{"3600", -SigV4MaxSkew - time.Second, ErrSigV4Skew},
		{"604800", 24 * time.Hour, nil},
		{"604801", 0, ErrSigV4Incomplete},
		{"0", 0, ErrSigV4Incomplete},
		{"-1", 0, ErrSigV4Incomplete},
		{"", 0, ErrSigV4Incomplete},
	} {
		if err := VerifySigV4(presign(test.expires), nil, "s", suiteTime.Add(test.at)); !errors.Is(err, test.want) {
			t.Errorf("expires %q, %v later: %v, want %v", test.expires, test.at, err, test.want)
		}
	}
	for _, name := range []string{"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-SignedHeaders"} {
		r := presign("60")
		r.URL.RawQuery = strings.Replace(r.URL.RawQuery, name+"=", "x=", 1)
		if err := VerifySigV4(r, nil, "s", suiteTime); !errors.Is(err, ErrSigV4Incomplete) || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: %v", name, err)
		}
	}
	r := presign("60")
	r.URL.RawQuery += "&more=1"
	if err := VerifySigV4(r, nil, "s", suiteTime); !errors.Is(err, ErrSigV4Mismatch) {
		t.Errorf("a parameter added: %v", err)
	}
}

func TestSigV4CanonicalParts(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest(http.MethodGet, "http://h/a//b/./c/../d%20e/?z=1&%41=%e1&b=x+y&b=a&c", nil)
	r.Header["X-Many"] = []string{"  a   b  c ", "d\t"}
	r.ContentLength = 7
	s := SigV4{SignedHeaders: "content-length;host;x-many;x-none"}
	got := string(s.appendCanonical(nil, r, nil))
	want := "GET\n/a/b/d%2520e/\nA=%E1&b=a&b=x%20y&c=&z=1\ncontent-length:7\nhost:h\nx-many:a b c,d\nx-none:\n\n" +
		"content-length;host;x-many;x-none\ne3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// A secret longer than a block is a key that HMAC hashes first.
func TestSigV4LongSecret(t *testing.T) {
	t.Parallel()
	secret := strings.Repeat("k", 100)
	r, body := signedPut(secret, suiteTime)
	if err := VerifySigV4(r, body, secret, suiteTime); err != nil {
		t.Error(err)
	}
	if err := VerifySigV4(r, body, secret[1:], suiteTime); !errors.Is(err, ErrSigV4Mismatch) {
		t.Errorf("another: %v", err)
	}
}

func TestSigV4CacheIsBounded(t *testing.T) {
	t.Parallel()
	var cache sigV4Cache
	for i := range 3 * maxSigV4Keys {
		id := sigV4KeyID{accessKeyID: fmt.Sprint(i)}
		cache.put(&id, [32]byte{byte(i)})
		if key, ok := cache.get(&id); !ok || key[0] != byte(i) {
			t.Fatalf("key %d is not there", i)
		}
		if len(cache.keys) > maxSigV4Keys {
			t.Fatalf("%d keys", len(cache.keys))
		}
	}
}

// Not in parallel: it counts what every goroutine allocates.
func TestVerifySigV4DoesNotAllocate(t *testing.T) {
	r, body := signedPut("s3cret", suiteTime)
	allocs := testing.AllocsPerRun(1000, func() {
		if err := VerifySigV4(r, body, "s3cret", suiteTime); err != nil {
			t.Fatal(err)
		}
	})
	if !raceEnabled && allocs != 0 {
		t.Errorf("%v allocations a request", allocs)
	}
}

func BenchmarkVerifySigV4(b *testing.B) {
	r, body := signedPut("s3cret", suiteTime)
	b.ReportAllocs()
	for b.Loop() {
		if err := VerifySigV4(r, body, "s3cret", suiteTime); err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzParseSigV4(f *testing.F) {
	f.Add("AWS4-HMAC-SHA256 Credential=AK/20150830/r/events/aws4_request, SignedHeaders=host, Signature=a", "20150830T123600Z", "")
	f.Add("AWS4-HMAC-SHA256", "", "X-Amz-Signature=&X-Amz-Algorithm=AWS4-HMAC-SHA256")
	f.Add("", "", "X-Amz-Signature=a&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=a%2F20150830%2Fr%2Fs%2Faws4_request&X-Amz-Date=20150830T123600Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host;;a")
	f.Fuzz(func(t *testing.T, authorization, date, query string) {
		r := httptest.NewRequest(http.MethodPost, "http://h/", nil)
		r.Header.Set("Authorization", authorization)
		r.Header.Set("X-Amz-Date", date)
		r.URL.RawQuery = query
		s, err := ParseSigV4(r)
		if err != nil {
			if !errors.Is(err, ErrSigV4Missing) && !errors.Is(err, ErrSigV4Incomplete) && !errors.Is(err, ErrSigV4Mismatch) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		if s.AccessKeyID == "" || s.SignedHeaders == "" || s.Signature == "" || s.Time.Format(sigV4Time)[:8] != s.Date {
			t.Fatalf("incomplete %+v", s)
		}
		if err := s.Verify(r, nil, NewSecret(), s.Time); err == nil {
			t.Fatal("genuine by a secret that nobody knows")
		}
	})
}
