package account_test

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/seal"
	"github.com/waybill-dev/waybill/internal/store"
)

const awsKey = "AKIAIOSFODNN7EXAMPLE"

func sealKey(t *testing.T, pair string) seal.Key {
	t.Helper()
	key, err := seal.ParseKey(strings.Repeat(pair, 32))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// twoAccounts is a store with the accounts 1 and 2, and a service on it.
func twoAccounts(t *testing.T) (*countingStore, *account.Service) {
	t.Helper()
	db := &countingStore{owners: map[int64]store.Account{
		1: {Number: 1, ID: "acct_1", Name: "first", AWSID: "111111111111"},
		2: {Number: 2, ID: "acct_2", Name: "second", AWSID: "222222222222"},
	}}
	return db, account.New(account.Options{Store: db, Key: sealKey(t, "0a")})
}

func TestAWSKeys(t *testing.T) {
	t.Parallel()
	db, s := twoAccounts(t)
	id, secret, err := s.CreateAWSKey(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^AKIA[A-Z2-7]{16}$`).MatchString(id) || !regexp.MustCompile(`^[0-9A-Za-z]{40}$`).MatchString(secret) {
		t.Errorf("key %q, secret %q", id, secret)
	}
	if stored := db.aws[0].Secret; len(stored) == 0 || bytes.Contains(stored, []byte(secret)) {
		t.Errorf("the secret is stored as %q", stored)
	}
	got, owner, err := s.AWSSecret(t.Context(), id)
	if err != nil || got != secret || owner.ID != "acct_2" {
		t.Fatalf("AWSSecret = %q, %+v, %v", got, owner, err)
	}
	want := account.AWSCaller{Scope: event.NewScope(2, true), AccountID: "222222222222", Region: "eu-west-1", AccessKeyID: id}
	if c := account.NewAWSCaller(owner, "eu-west-1", id); c != want {
		t.Errorf("caller %+v, want %+v", c, want)
	}

	list, err := s.ListAWSKeys(t.Context(), 2)
	if err != nil || len(list) != 1 || list[0].ID != id || list[0].Created.IsZero() {
		t.Errorf("list %+v, %v", list, err)
	}
	if list, err := s.ListAWSKeys(t.Context(), 1); err != nil || len(list) != 0 {
		t.Errorf("another account's list %+v, %v", list, err)
	}
	mustFault(t, s.DeleteAWSKey(t.Context(), 1, id), fault.NotFound, "")
	if err := s.DeleteAWSKey(t.Context(), 2, id); err != nil {
		t.Fatal(err)
	}
	_, _, err = s.AWSSecret(t.Context(), id)
	mustFault(t, err, fault.Unauthorized, "")
	if code := fault.As(err).Code; code != "UnrecognizedClientException" {
		t.Errorf("code %q", code)
	}
}

func TestAWSSecretsAreRememberedAndCheckedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db, s := twoAccounts(t)
		id, secret, err := s.CreateAWSKey(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		good := func(asked int) {
			t.Helper()
			if got, _, err := s.AWSSecret(t.Context(), id); err != nil || got != secret || db.count() != asked {
				t.Errorf("AWSSecret = %v, asked %d times, want %d", err, db.count(), asked)
			}
		}
		good(1)
		good(1)
		if err := db.DeleteAWSKey(t.Context(), 1, id); err != nil { // by another process
			t.Fatal(err)
		}
		advance(30*time.Second - time.Nanosecond)
		good(1)
		db.fail(store.ErrUnavailable)
		good(1)
		advance(time.Nanosecond)
		_, _, err = s.AWSSecret(t.Context(), id)
		mustFault(t, err, fault.Unavailable, "")
		db.fail(nil)
		for range 3 {
			_, _, err = s.AWSSecret(t.Context(), id)
			mustFault(t, err, fault.Unauthorized, "")
		}
		if db.count() != 3 {
			t.Errorf("asked %d times, want 3", db.count())
		}
	})
}

func TestAWSKeyWorksAsSoonAsItIsCreated(t *testing.T) {
	t.Parallel()
	_, s := twoAccounts(t)
	if _, _, err := s.AWSSecret(t.Context(), awsKey); err == nil {
		t.Fatal("it is good before it was created")
	}
	if err := s.BootstrapAWSKey(t.Context(), awsKey+":wJalrXUtnFEMI/K7MDENG"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.AWSSecret(t.Context(), awsKey); err != nil {
		t.Errorf("right after: %v", err)
	}
}

func TestMalformedAWSKeysCostNoQuery(t *testing.T) {
	t.Parallel()
	db, s := twoAccounts(t)
	for _, id := range []string{"", "AKIA", awsKey + "/", awsKey + "é", strings.Repeat("A", 129), "'; DROP TABLE accounts --"} {
		_, _, err := s.AWSSecret(t.Context(), id)
		mustFault(t, err, fault.Unauthorized, "")
	}
	if db.count() != 0 {
		t.Errorf("the store was asked %d times", db.count())
	}
}

// A secret opens only for the key and account it was sealed for, and only with
// the installation's encryption key.
func TestSealedAWSSecretsDoNotMove(t *testing.T) {
	t.Parallel()
	db, s := twoAccounts(t)
	id, secret, err := s.CreateAWSKey(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := s.CreateAWSKey(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	db.aws[1].Secret = db.aws[0].Secret
	_, _, err = s.AWSSecret(t.Context(), other)
	if !errors.Is(err, seal.ErrWrongKey) || fault.As(err) != nil || strings.Contains(err.Error(), secret) {
		t.Errorf("a moved secret: %v", err)
	}
	_, _, err = account.New(account.Options{Store: db, Key: sealKey(t, "0b")}).AWSSecret(t.Context(), id)
	if !errors.Is(err, seal.ErrWrongKey) {
		t.Errorf("another encryption key: %v", err)
	}
	without := account.New(account.Options{Store: db})
	if _, _, err := without.AWSSecret(t.Context(), id); err == nil {
		t.Error("a secret was opened without an encryption key")
	}
	if _, _, err := without.CreateAWSKey(t.Context(), 1); err == nil {
		t.Error("a key was made without an encryption key")
	}
}

func TestBootstrapAWSKey(t *testing.T) {
	t.Parallel()
	const key = awsKey + ":wJalrXUtnFEMI/K7MDENG:bPxRfi"
	db, s := twoAccounts(t)
	for range 3 {
		if err := s.BootstrapAWSKey(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	secret, owner, err := s.AWSSecret(t.Context(), awsKey)
	if err != nil || secret != "wJalrXUtnFEMI/K7MDENG:bPxRfi" || owner.Number != 1 || len(db.aws) != 1 {
		t.Errorf("%q, %+v, %v, %d keys", secret, owner, err, len(db.aws))
	}

	if err := s.BootstrapAWSKey(t.Context(), ""); err != nil || len(db.aws) != 1 {
		t.Errorf("none to give: %v", err)
	}
	err = s.BootstrapAWSKey(t.Context(), awsKey+":another-secret-of-it")
	if text := mustFault(t, err, fault.Conflict, ""); strings.Contains(text, "another-secret") || strings.Contains(text, "wJalr") {
		t.Errorf("the error tells a secret: %s", text)
	}
	stranger, strangers, err := s.CreateAWSKey(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	mustFault(t, s.BootstrapAWSKey(t.Context(), stranger+":"+strangers), fault.Conflict, "")
	for _, bad := range []string{awsKey, awsKey + ":", awsKey + ":short", ":wJalrXUtnFEMI/K7MDENG", awsKey + ":wJalrXUtn FEMI/K7MDENG", awsKey + ":wJalrXUtnFEMI/K7MDENGé"} {
		if text := mustFault(t, s.BootstrapAWSKey(t.Context(), bad), fault.Invalid, "bootstrap_aws_key"); strings.Contains(text, "wJalr") {
			t.Errorf("the error tells the secret: %s", text)
		}
	}
	empty := account.New(account.Options{Store: &countingStore{}, Key: sealKey(t, "0a")})
	mustFault(t, empty.BootstrapAWSKey(t.Context(), key), fault.NotFound, "")
}

func TestFirstAWSID(t *testing.T) {
	t.Parallel()
	db := &countingStore{}
	with := func(id string) *account.Service {
		return account.New(account.Options{Store: db, FirstAWSID: id})
	}
	_, err := with("12345").Bootstrap(t.Context(), "", "")
	mustFault(t, err, fault.Invalid, "bootstrap_aws_account_id")
	created, err := with("123456789012").Bootstrap(t.Context(), "", "")
	if err != nil || created.Account.AWSID != "123456789012" {
		t.Fatalf("%+v, %v", created, err)
	}
	for _, id := range []string{"123456789012", ""} {
		if again, err := with(id).Bootstrap(t.Context(), "", ""); err != nil || again != nil {
			t.Errorf("again with %q: %v, %v", id, again, err)
		}
	}
	_, err = with("210987654321").Bootstrap(t.Context(), "", "")
	mustFault(t, err, fault.Invalid, "bootstrap_aws_account_id")

	// Only the first account gets it.
	if created, err := with("123456789012").Create(t.Context(), "x", "", ""); err != nil || created.Account.AWSID == "123456789012" {
		t.Errorf("a further account: %+v, %v", created, err)
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	db, s := twoAccounts(t)
	for id, want := range map[string]int64{"acct_1": 1, "acct_2": 2, "111111111111": 1} {
		if got, err := s.Find(t.Context(), id); err != nil || got.Number != want {
			t.Errorf("Find(%q) = %+v, %v", id, got, err)
		}
	}
	_, err := s.Find(t.Context(), "acct_3")
	mustFault(t, err, fault.NotFound, "")
	_, err = s.Find(t.Context(), "")
	if text := mustFault(t, err, fault.Invalid, "account"); !strings.Contains(text, "acct_1 (first), acct_2 (second)") {
		t.Error(text)
	}
	delete(db.owners, 2)
	if got, err := s.Find(t.Context(), ""); err != nil || got.Number != 1 {
		t.Errorf("the only one: %+v, %v", got, err)
	}
	delete(db.owners, 1)
	_, err = s.Find(t.Context(), "")
	mustFault(t, err, fault.NotFound, "")
}

func BenchmarkAWSSecret(b *testing.B) {
	key, err := seal.ParseKey(strings.Repeat("0a", 32))
	if err != nil {
		b.Fatal(err)
	}
	s := account.New(account.Options{Store: &countingStore{owners: map[int64]store.Account{1: {Number: 1}}}, Key: key})
	id, _, err := s.CreateAWSKey(b.Context(), 1)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := s.AWSSecret(b.Context(), id); err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzAWSSecret(f *testing.F) {
	for _, id := range []string{"", awsKey, "AKIA\x00", strings.Repeat("é", 20)} {
		f.Add(id)
	}
	s := account.New(account.Options{Store: &countingStore{}})
	f.Fuzz(func(t *testing.T, id string) {
		if _, _, err := s.AWSSecret(t.Context(), id); fault.As(err) == nil {
			t.Error(fmt.Errorf("AWSSecret(%q): %w", id, err))
		}
	})
}
