package postgres

import (
	"context"
	"database/sql"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/waybill-dev/waybill/internal/store/sqlstore"
)

// rebound speaks PostgreSQL's dialect for queries that package sqlstore wrote
// in SQLite's.
type rebound struct{ sqlstore.Conn }

func (r rebound) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return r.Conn.ExecContext(ctx, rebind(query), cleaned(args)...)
}

func (r rebound) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return r.Conn.QueryContext(ctx, rebind(query), cleaned(args)...)
}

func (r rebound) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	return r.Conn.QueryRowContext(ctx, rebind(query), cleaned(args)...)
}

// cleaned makes of parameters what PostgreSQL takes.
func cleaned(args []any) []any {
	for i, a := range args {
		switch a := a.(type) {
		case string:
			args[i] = clean(a)
		case sqlstore.List:
			args[i] = []int64(a)
		}
	}
	return args
}

// rebinds remembers what was translated. There are as many queries as the
// source has, times the filters that a list can combine.
var rebinds sync.Map

func rebind(query string) string {
	if known, ok := rebinds.Load(query); ok {
		return known.(string) //nolint:forcetypeassert // nothing else is stored
	}
	translated := translate(query)
	rebinds.Store(query, translated)
	return translated
}

var (
	hint    = regexp.MustCompile(`\s+(NOT INDEXED|INDEXED BY \w+)`)
	list    = regexp.MustCompile(`IN \(SELECT value FROM json_each\(\?\)\)`)
	instr   = regexp.MustCompile(`instr\((\w+), \?\)`)
	bindVar = regexp.MustCompile(`\?\d*`)
)

// translate turns the constructs that differ into PostgreSQL's.
func translate(query string) string {
	query = hint.ReplaceAllString(query, "")
	query = list.ReplaceAllString(query, "= ANY (?::bigint[])")
	query = instr.ReplaceAllString(query, "position(? IN $1)")
	n := 0
	return bindVar.ReplaceAllStringFunc(query, func(v string) string {
		if at := strings.TrimPrefix(v, "?"); at != "" {
			return "$" + at
		}
		n++
		return "$" + strconv.Itoa(n)
	})
}
