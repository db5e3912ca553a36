package account

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
)

// Access is how far a restricted key may go with a resource.
type Access string

// The kinds of access. Write includes Read.
const (
	None  Access = "none"
	Read  Access = "read"
	Write Access = "write"
)

// Grants is what a restricted key may do, as its stored text: resource:access,
// separated by spaces. The closest name decides: events/charge.dispute is
// governed by itself, else by events/charge, by events, or by *; what none of
// them names is refused.
type Grants string

// Allows tells whether a resource may be used so. "" allows everything.
func (g Grants) Allows(resource string, want Access) bool {
	if g == "" {
		return true
	}
	for name := resource; ; {
		if has, ok := g.of(name); ok {
			return has == Write || has == want
		}
		if cut := strings.LastIndexAny(name, "./"); cut > 0 {
			name = name[:cut]
		} else if name != "*" {
			name = "*"
		} else {
			return false
		}
	}
}

// AllowsAll tells whether a resource and all below it may be used so.
func (g Grants) AllowsAll(resource string, want Access) bool {
	if !g.Allows(resource, want) {
		return false
	}
	for _, access := range g.below(resource) {
		if access != Write && access != want {
			return false
		}
	}
	return true
}

// AllowsBelow tells whether anything below a resource may be used so.
func (g Grants) AllowsBelow(resource string, want Access) bool {
	for _, access := range g.below(resource) {
		if access == Write || access == want {
			return true
		}
	}
	return false
}

// below yields what is granted below a resource.
func (g Grants) below(resource string) iter.Seq2[string, Access] {
	return func(yield func(string, Access) bool) {
		for grant := range strings.SplitSeq(string(g), " ") {
			name, access, _ := strings.Cut(grant, ":")
			rest, ok := strings.CutPrefix(name, resource)
			if ok && rest != "" && strings.ContainsAny(rest[:1], "./") && !yield(name, Access(access)) {
				return
			}
		}
	}
}

func (g Grants) of(name string) (Access, bool) {
	for grant := range strings.SplitSeq(string(g), " ") {
		if access, ok := strings.CutPrefix(grant, name+":"); ok {
			return Access(access), true
		}
	}
	return "", false
}

// ParseGrants reads grants such as events:read, for these resources (with what
// is below them) and *.
func ParseGrants(given, resources []string) (Grants, error) {
	all := map[string]string{}
	for _, grant := range given {
		name, access, _ := strings.Cut(grant, ":")
		if a := Access(access); a != None && a != Read && a != Write {
			return "", fmt.Errorf("%q does not say which access it grants: write %s:read, %s:write or %s:none", grant, name, name, name)
		}
		top, below, has := strings.Cut(name, "/")
		if name != "*" && !slices.Contains(resources, top) || has && (below == "" || strings.ContainsAny(below, " :")) {
			return "", fmt.Errorf("%q is nothing that access is granted to: name *, %s", name, strings.Join(resources, ", "))
		}
		all[name] = access
	}
	list := make([]string, 0, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		list = append(list, name+":"+all[name])
	}
	return Grants(strings.Join(list, " ")), nil
}
