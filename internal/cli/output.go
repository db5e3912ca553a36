package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"
)

// printRaw prints the API's JSON, indented; the bytes are otherwise its own.
func (c *cli) printRaw(raw []byte) error {
	var out bytes.Buffer
	if err := json.Indent(&out, bytes.TrimSpace(raw), "", "  "); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	out.WriteByte('\n')
	_, err := c.stdout.Write(out.Bytes())
	return err
}

func (c *cli) printJSON(v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode output: %w", err)
	}
	return c.printRaw(raw)
}

// table prints rows in columns. notes follow, a line each; without rows, none
// stands for the table.
func (c *cli) table(head []string, rows [][]string, none string, notes ...string) error {
	if len(rows) == 0 {
		fmt.Fprintln(c.stdout, none)
		return nil
	}
	rows = append([][]string{head}, rows...)
	widths := make([]int, len(head))
	for _, row := range rows {
		for i := range row {
			row[i] = printable(row[i])
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	var out strings.Builder
	for n, row := range rows {
		for i, cell := range row {
			gap := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2)
			if n > 0 {
				cell = c.paint(cell)
			}
			if i == len(row)-1 {
				gap = "\n"
			}
			out.WriteString(cell + gap)
		}
	}
	if _, err := io.WriteString(c.stdout, out.String()); err != nil {
		return err
	}
	for _, note := range notes {
		fmt.Fprintln(c.stdout, note)
	}
	return nil
}

// fields prints one object, a field a line; fields that are "" are left out.
func (c *cli) fields(fields [][2]string, notes ...string) error {
	w := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
	for _, f := range fields {
		if f[1] != "" {
			fmt.Fprintf(w, "%s\t%s\n", f[0], c.paint(printable(f[1])))
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, note := range notes {
		fmt.Fprintln(c.stdout, note)
	}
	return nil
}

// colours of the words that say how something is, by the first of a cell.
var colours = map[string]string{
	"ok": "32", "ready": "32", "enabled": "32", "delivered": "32", "succeeded": "32",
	"warning": "33", "pending": "33",
	"error": "31", "failed": "31", "disabled": "31",
	"skipped": "2", "discarded": "2",
}

// paint colours a cell that says how something is, on a terminal.
func (c *cli) paint(cell string) string {
	word, _, _ := strings.Cut(cell, " ")
	return c.colour(colours[word], cell)
}

func (c *cli) colour(code, text string) string {
	if code == "" || !c.coloured() {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// coloured tells whether whoever reads the output sees colours and wants them;
// see https://no-color.org.
func (c *cli) coloured() bool {
	file, ok := c.stdout.(*os.File)
	if !ok || c.env("NO_COLOR") != "" || c.env("TERM") == "dumb" {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// printable keeps what a stranger chose, such as the body of an answer, from
// steering the terminal or breaking the table.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s)
}

// when is a moment of the API: RFC 3339 in v2, Unix seconds in v1, or null.
type when struct{ time.Time }

func (w *when) UnmarshalJSON(raw []byte) error {
	var seconds int64
	if json.Unmarshal(raw, &seconds) == nil && string(raw) != "null" {
		w.Time = time.Unix(seconds, 0)
		return nil
	}
	return json.Unmarshal(raw, &w.Time)
}

// ago words a moment as seen from now; older than a month it is the date.
func (c *cli) ago(w when) string {
	if w.IsZero() {
		return "-"
	}
	d := c.now().Sub(w.Time)
	switch {
	case d > 30*24*time.Hour || d < -30*24*time.Hour:
		return w.UTC().Format(time.DateOnly)
	case d <= -time.Second:
		return "in " + short(-d)
	case d < time.Second:
		return "now"
	}
	return short(d) + " ago"
}

// short words a duration in its largest unit.
func short(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return fmt.Sprintf("%dd", d/(24*time.Hour))
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
