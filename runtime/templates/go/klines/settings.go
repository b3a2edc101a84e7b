package klines

import (
	"encoding/json"
	"fmt"
	"reflect"
	"sort"
	"strings"
)

// Settings is the JSON object of [consumers.NAME.settings].
type Settings json.RawMessage

// Problem is one error in the settings, which `klines check` shows to the operator.
type Problem struct {
	// Path is the path of the key.
	Path string
	// Message is what is wrong.
	Message string
	// Expected is what would be right.
	Expected string
}

// Problems is an error with all problems of the settings.
type Problems []Problem

// Error lists the problems.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, problem := range p {
		lines[i] = fmt.Sprintf("%s: %s (expected %s)", problem.Path, problem.Message, problem.Expected)
	}
	return strings.Join(lines, "; ")
}

// Error describes the problem.
func (p Problem) Error() string { return Problems{p}.Error() }

// Read fills a struct whose fields have json tags and hold the defaults. Its error lists all unknown keys and wrong
// types.
func (s Settings) Read(into any) error {
	var written map[string]json.RawMessage
	if err := json.Unmarshal(s, &written); err != nil {
		return Problems{{"", "is no object: " + err.Error(), "keys and values"}}
	}
	value := reflect.ValueOf(into).Elem()
	fields := map[string]reflect.Value{}
	var known []string
	for i := range value.NumField() {
		name, _, _ := strings.Cut(value.Type().Field(i).Tag.Get("json"), ",")
		if name != "" && name != "-" {
			fields[name] = value.Field(i)
			known = append(known, name)
		}
	}
	var problems Problems
	for key, raw := range written {
		field, ok := fields[key]
		if !ok {
			problems = append(problems, Problem{key, "there is no such setting", strings.Join(known, ", ")})
		} else if err := json.Unmarshal(raw, field.Addr().Interface()); err != nil {
			problems = append(problems, Problem{key, "is " + string(raw), expected(field.Kind())})
		}
	}
	if len(problems) > 0 {
		sort.Slice(problems, func(i, j int) bool { return problems[i].Path < problems[j].Path })
		return problems
	}
	return nil
}

// expected returns the name of a type for the operator.
func expected(kind reflect.Kind) string {
	switch kind {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a text"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Map, reflect.Struct:
		return "a section"
	default:
		return "a whole number"
	}
}
