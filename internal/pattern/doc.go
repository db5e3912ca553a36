// Package pattern owns the language of EventBridge event patterns: reading
// them, matching events against one or many, and saying why an event does or
// does not match. docs/patterns.md is its specification.
//
//   - Parse turns the text of a pattern into a Pattern, or into an *Error whose
//     text is AWS's own.
//   - Pattern.Matches is the plain evaluation of one pattern. It tries
//     combinations, so its worst case grows with the product of the lengths of
//     an event's arrays. It is the measure that the compiled matcher for many
//     patterns is held to.
//   - Pattern.Explain evaluates in the same way and reports on each field.
//   - CheckEvent tells whether a text is an event at all.
//
// Nothing here keeps state, does I/O or panics: a text that is no pattern is an
// error, and what is not a JSON object matches nothing.
package pattern
