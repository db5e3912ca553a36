package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Error is a configuration that cannot be used: everything that is wrong with
// it, a line each.
type Error struct{ Problems []string }

func (e *Error) Error() string { return strings.Join(e.Problems, "\n") }

// A Flag is one setting on the command line. It has the methods of pflag.Value
// and keeps what it was given until Load.
type Flag struct {
	Name, Usage string
	// Bool says that the flag alone means true.
	Bool bool

	typ, def string
	list     bool
	setting  *setting
	given    []string
}

// Set records a value; Load judges it.
func (f *Flag) Set(text string) error {
	if !f.list {
		f.given = f.given[:0]
	}
	f.given = append(f.given, text)
	return nil
}

// String returns the value given, or the default.
func (f *Flag) String() string {
	if f.given != nil {
		return strings.Join(f.given, ",")
	}
	return f.def
}

// Type is the placeholder in --help.
func (f *Flag) Type() string { return f.typ }

// Loader holds the flags of one command line.
type Loader struct {
	file  Flag
	flags []*Flag
}

// NewLoader returns a Loader with flags for the named settings, or for all that
// have one if none is named. The others still come from file and environment.
func NewLoader(names ...string) *Loader {
	l := &Loader{file: Flag{Name: "config", Usage: "YAML file with settings", typ: "file"}}
	def := Default()
	for i := range settings {
		s := &settings[i]
		if s.secret || len(names) > 0 && !slices.Contains(names, s.name) {
			continue
		}
		v := s.bind(&def)
		l.flags = append(l.flags, &Flag{
			Name: flagName(s.name), Usage: s.usage, Bool: v.Type() == "bool",
			typ: v.Type(), def: v.String(), list: s.list, setting: s,
		})
	}
	return l
}

// Flags returns the flags to bind, --config among them.
func (l *Loader) Flags() []*Flag { return append([]*Flag{&l.file}, l.flags...) }

// Load reads all sources and returns the checked Config. env returns a variable
// of the environment; one that is empty counts as not set. The error is an
// [*Error].
func (l *Loader) Load(env func(string) string) (Config, error) {
	r := reader{config: Default()}
	path, source := env("WAYBILL_CONFIG"), "WAYBILL_CONFIG"
	if l.file.given != nil {
		path, source = l.file.String(), "--config"
	}
	if path != "" || source == "--config" {
		r.readFile(path, source)
	}
	for i := range settings {
		s := &settings[i]
		if text := env(envName(s.name)); text != "" {
			r.set(s, envName(s.name), text)
		}
	}
	for _, f := range l.flags {
		if f.given != nil {
			r.set(f.setting, "--"+f.Name, f.String())
		}
	}
	if len(r.problems) > 0 {
		return Config{}, &Error{r.problems}
	}
	return r.config, nil
}

// reader collects values and what is wrong with them.
type reader struct {
	config   Config
	problems []string
}

func (r *reader) problem(source, format string, args ...any) {
	r.problems = append(r.problems, source+": "+fmt.Sprintf(format, args...))
}

func (r *reader) set(s *setting, source, text string) {
	if err := s.bind(&r.config).Set(text); err != nil {
		r.problem(source, "%v", err)
	}
}

func (r *reader) readFile(path, source string) {
	file, err := os.Open(path) //nolint:gosec // G304: the operator names the file
	if err != nil {
		r.problem(source, "open configuration file: %v; correct the path or leave it out", err)
		return
	}
	defer func() { _ = file.Close() }() // it was only read
	r.read(path, file)
}

// read takes the settings of one YAML document.
func (r *reader) read(name string, from io.Reader) {
	decoder := yaml.NewDecoder(from)
	var doc, more yaml.Node
	err := decoder.Decode(&doc)
	switch {
	case errors.Is(err, io.EOF):
		return // empty, or all comments
	case err != nil:
		r.problem(name, "read YAML: %v", err)
		return
	case !errors.Is(decoder.Decode(&more), io.EOF):
		r.problem(name, "it must hold one YAML document; remove what follows ---")
		return
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return
	}
	if root.Kind != yaml.MappingNode {
		r.problem(name, "it must hold settings, each on a line like listen: 127.0.0.1:4242")
		return
	}
	seen := make(map[string]bool, len(root.Content)/2)
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, node := root.Content[i], root.Content[i+1]
		source := fmt.Sprintf("%s line %d, %s", name, key.Line, key.Value)
		s := find(key.Value)
		switch {
		case s == nil:
			r.problem(source, "there is no such setting%s", didYouMean(key.Value))
		case seen[key.Value]:
			r.problem(source, "it is there twice; keep one")
		default:
			r.setNode(s, source, node)
		}
		seen[key.Value] = true
	}
}

func (r *reader) setNode(s *setting, source string, node *yaml.Node) {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	switch {
	case node.Kind == yaml.ScalarNode && node.Tag == "!!null":
		r.problem(source, "it has no value; give one or remove the line")
	case node.Kind == yaml.ScalarNode:
		r.set(s, source, node.Value)
	case node.Kind == yaml.SequenceNode && s.list:
		entries := make([]string, len(node.Content))
		for i, entry := range node.Content {
			if entry.Kind != yaml.ScalarNode {
				r.problem(source, "its entry %d must be text", i+1)
				return
			}
			entries[i] = entry.Value
		}
		r.set(s, source, strings.Join(entries, ","))
	case s.list:
		r.problem(source, "it must be a list, each entry on a line that begins with -")
	default:
		r.problem(source, "it must be one value")
	}
}

// didYouMean names the setting that a wrong key probably stands for: the same
// letters in the flag's or the variable's spelling, or else all there are.
func didYouMean(key string) string {
	plain := strings.NewReplacer("-", "", "_", "").Replace(strings.ToLower(key))
	plain = strings.TrimPrefix(plain, "waybill")
	names := make([]string, len(settings))
	for i := range settings {
		names[i] = settings[i].name
		if strings.ReplaceAll(names[i], "_", "") == plain {
			return "; did you mean " + names[i] + "?"
		}
	}
	return "; those possible are: " + strings.Join(names, ", ")
}
