// Package apidoc reads an OpenAPI document in order to show the document to people: in
// the order of the text, with references resolved. An operation with x-internal: true is
// left out: it is not for callers.
package apidoc

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html/template"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A Document is the content of a page.
type Document struct {
	Title       string
	Summary     string
	Description template.HTML
	Groups      []Group    // those with operations
	Answers     []Response // answers that operations have in common, each with a Name
}

// A Group is the operations under a tag.
type Group struct {
	Name        string
	Description template.HTML
	Operations  []Operation
}

// An Operation is a method on a path.
type Operation struct {
	ID          string
	Method      string
	Path        string
	Server      string // URL and description of another server; "": the server of the document
	Summary     string
	Description template.HTML
	Secured     bool
	Parameters  []Field
	Body        *Body // nil: none
	Responses   []Response
	Commands    []Example // curl
}

// A Body describes the body of a request.
type Body struct {
	Description template.HTML
	Types       []string // media types
	Objects     []Object // the alternatives
}

// An Object is a JSON object, or a form.
type Object struct {
	Title  string // may be ""
	Fields []Field
}

// An Example is a body in JSON, or a command.
type Example struct {
	Summary string // may be ""
	Text    string
}

// A Response describes an answer. An answer in common that an operation refers to has no
// more than Status, Name and Description.
type Response struct {
	Status      string // "" of an answer in common
	Name        string // of an answer in common; "": of one operation only
	Description template.HTML
	Headers     []Field
	Types       []string
	Fields      []Field // of the first media type with fields
	Examples    []Example
}

// A Field is a parameter, a header or a member of an object. A member of an inner object
// has the whole path as its name: data.ticket.id, errors[].field.
type Field struct {
	Name        string
	Type        string
	Required    bool
	Description template.HTML
}

// Read returns the content of the document. It reads the part of OpenAPI that the
// service's own documents use.
func Read(document []byte) (*Document, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(document, &root); err != nil {
		return nil, fmt.Errorf("%w", err)
	}
	if len(root.Content) != 1 {
		return nil, fmt.Errorf("the document is empty")
	}
	r := &reader{root: node{root.Content[0]}, used: make(map[string]bool)}
	info := r.root.get("info")
	d := &Document{Title: info.text("title"), Summary: info.text("summary"), Description: prose(info.text("description"))}
	groups, err := r.groups()
	if err != nil {
		return nil, err
	}
	for _, g := range groups {
		if len(g.Operations) > 0 {
			d.Groups = append(d.Groups, g)
		}
	}
	for name, response := range r.root.get("components").get("responses").members() {
		if r.used[name] {
			answer := r.response("", response)
			answer.Name = name
			d.Answers = append(d.Answers, answer)
		}
	}
	return d, r.err
}

// groups returns the groups of all tags.
func (r *reader) groups() (all []Group, _ error) {
	index := make(map[string]int)
	for _, tag := range r.root.get("tags").items() {
		index[tag.text("name")] = len(all)
		all = append(all, Group{Name: tag.text("name"), Description: prose(tag.text("description"))})
	}
	for path, item := range r.root.get("paths").members() {
		for method, op := range item.members() {
			if !op.has("operationId") || op.text("x-internal") == "true" {
				continue // the first are such as the parameters of all operations of the path
			}
			tags := op.get("tags").items()
			if len(tags) == 0 {
				return nil, fmt.Errorf("%s %s has no tag", method, path)
			}
			i, ok := index[tags[0].n.Value]
			if !ok {
				return nil, fmt.Errorf("%s %s has a tag that is not listed", method, path)
			}
			all[i].Operations = append(all[i].Operations, r.operation(path, method, item, op))
		}
	}
	return all, nil
}

type reader struct {
	root node
	used map[string]bool // the answers in common that were referred to
	err  error           // the first reference that leads nowhere
}

// resolve follows a reference. It returns the target and its name, or n and "" if n is
// no reference.
func (r *reader) resolve(n node) (node, string) {
	ref := n.text("$ref")
	if ref == "" {
		return n, ""
	}
	to := r.root
	name := ""
	for part := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
		to, name = to.get(part), part
	}
	if to.n == nil && r.err == nil {
		r.err = fmt.Errorf("%s leads nowhere", ref)
	}
	return to, name
}

func (r *reader) operation(path, method string, item, op node) Operation {
	o := Operation{
		ID: op.text("operationId"), Method: strings.ToUpper(method), Path: path,
		Summary: op.text("summary"), Description: prose(op.text("description")), Secured: op.has("security"),
	}
	for _, server := range item.get("servers").items() {
		o.Server = server.text("url") + ", " + server.text("description")
	}
	var parameters []node
	for _, list := range []node{item.get("parameters"), op.get("parameters")} {
		for _, p := range list.items() {
			p, _ = r.resolve(p)
			parameters = append(parameters, p)
			f := r.field(p.text("name"), p)
			f.Type += ", in the " + p.text("in")
			o.Parameters = append(o.Parameters, f)
		}
	}
	body, _ := r.resolve(op.get("requestBody"))
	if body.n != nil {
		o.Body = r.body(body)
	}
	json := false // a good answer is JSON
	for status, response := range op.get("responses").members() {
		to, name := r.resolve(response)
		json = json || status[0] == '2' && to.get("content").has("application/json")
		if name == "" {
			o.Responses = append(o.Responses, r.response(status, to))
			continue
		}
		r.used[name] = true
		o.Responses = append(o.Responses, Response{Status: status, Name: name, Description: prose(to.text("description"))})
	}
	o.Commands = r.commands(&o, parameters, body, !json)
	return o
}

func (r *reader) body(n node) *Body {
	b := &Body{Description: prose(n.text("description"))}
	for kind, content := range n.get("content").members() {
		b.Types = append(b.Types, kind)
		schema, _ := r.resolve(content.get("schema"))
		choices := schema.get("oneOf").items()
		if choices == nil {
			choices = []node{schema}
		}
		for _, choice := range choices {
			choice, _ = r.resolve(choice)
			object := Object{Title: choice.text("title"), Fields: r.fields("", choice)}
			if object.Title == "" {
				object.Title = kind
			}
			if !b.has(&object) {
				b.Objects = append(b.Objects, object)
			}
		}
	}
	return b
}

// has reports whether the body shows the fields of an object already. The form that has the
// whole JSON in a field is told by the media types, and so is an object within data.
func (b *Body) has(object *Object) bool {
	if len(object.Fields) > 0 && object.Fields[0].Name == "data" {
		return true
	}
	for _, o := range b.Objects {
		if fmt.Sprint(o.Fields) == fmt.Sprint(object.Fields) {
			return true
		}
	}
	return false
}

func (r *reader) response(status string, n node) Response {
	to := Response{Status: status, Description: prose(n.text("description"))}
	for name, header := range n.get("headers").members() {
		header, _ = r.resolve(header)
		to.Headers = append(to.Headers, r.field(name, header))
	}
	for kind, content := range n.get("content").members() {
		to.Types = append(to.Types, kind)
		for _, e := range values(content) {
			to.Examples = append(to.Examples, Example{e.text("summary"), e.get("value").json()})
		}
		if to.Fields == nil {
			schema, _ := r.resolve(content.get("schema"))
			to.Fields = r.fields("", schema)
		}
	}
	return to
}

// values returns the examples of a media type: nodes with a value, and perhaps a summary.
func values(content node) (all []node) {
	for _, e := range content.get("examples").members() {
		all = append(all, e)
	}
	if content.has("example") {
		value := &yaml.Node{Kind: yaml.ScalarNode, Value: "value"}
		all = append(all, node{&yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{value, content.get("example").n}}})
	}
	return all
}

// field returns a parameter or a header, both of which have a schema.
func (r *reader) field(name string, n node) Field {
	return Field{name, r.kind(n.get("schema")), n.text("required") == "true", prose(n.text("description"))}
}

// fields returns the members of an object. The members of an inner object follow its
// own entry, with their whole names.
func (r *reader) fields(prefix string, n node) (all []Field) {
	required := make(map[string]bool)
	for _, name := range n.get("required").items() {
		required[name.n.Value] = true
	}
	for name, member := range n.get("properties").members() {
		to, _ := r.resolve(member)
		description := to.text("description")
		if text := member.text("description"); text != "" {
			description = text
		}
		all = append(all, Field{prefix + name, r.kind(member), required[name], prose(description)})
		name = prefix + name
		if to.has("items") {
			to, _ = r.resolve(to.get("items"))
			name += "[]"
		}
		all = append(all, r.fields(name+".", to)...)
	}
	return all
}

// kind describes in words the values that a schema allows.
func (r *reader) kind(n node) string {
	n, _ = r.resolve(n)
	words := n.text("type")
	if words == "array" {
		return "array of " + r.kind(n.get("items"))
	}
	if n.has("const") {
		words = n.get("const").json()
	}
	var values []string
	for _, v := range n.get("enum").items() {
		values = append(values, v.n.Value)
	}
	if len(values) > 0 && len(values) < 5 {
		words = strings.Join(values, " or ")
	}
	return words
}

// node is a YAML node, or none.
type node struct{ n *yaml.Node }

func (n node) get(name string) node {
	for key, value := range n.members() {
		if key == name {
			return value
		}
	}
	return node{}
}

func (n node) has(name string) bool { return n.get(name).n != nil }

func (n node) text(name string) string {
	if v := n.get(name); v.n != nil && v.n.Kind == yaml.ScalarNode {
		return v.n.Value
	}
	return ""
}

// members yields the members of an object in order.
func (n node) members() func(yield func(string, node) bool) {
	return func(yield func(string, node) bool) {
		if n.n == nil || n.n.Kind != yaml.MappingNode {
			return
		}
		for i := 0; i+1 < len(n.n.Content); i += 2 {
			if !yield(n.n.Content[i].Value, node{n.n.Content[i+1]}) {
				return
			}
		}
	}
}

func (n node) items() (all []node) {
	if n.n != nil && n.n.Kind == yaml.SequenceNode {
		for _, c := range n.n.Content {
			all = append(all, node{c})
		}
	}
	return all
}

// json returns the value as indented JSON, with its members in order.
func (n node) json() string {
	var flat, indented bytes.Buffer
	n.write(&flat)
	if json.Indent(&indented, flat.Bytes(), "", "  ") != nil {
		return flat.String()
	}
	return indented.String()
}

func (n node) write(b *bytes.Buffer) {
	switch {
	case n.n == nil:
		b.WriteString("null")
	case n.n.Kind == yaml.MappingNode:
		comma := "{"
		for name, v := range n.members() {
			b.WriteString(comma)
			b.WriteString(quote(name))
			b.WriteByte(':')
			v.write(b)
			comma = ","
		}
		b.WriteByte('}')
	case n.n.Kind == yaml.SequenceNode:
		comma := "["
		for _, v := range n.items() {
			b.WriteString(comma)
			v.write(b)
			comma = ","
		}
		b.WriteByte(']')
	case n.n.Tag == "!!str" || n.n.Tag == "!!timestamp":
		b.WriteString(quote(n.n.Value))
	default:
		b.WriteString(n.n.Value)
	}
}

func quote(s string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string always has an encoding
	return strings.TrimSpace(b.String())
}

// prose returns HTML for text with paragraphs and `code`.
func prose(text string) template.HTML {
	var b strings.Builder
	for paragraph := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		if paragraph == "" {
			continue
		}
		b.WriteString("<p>")
		for i, part := range strings.Split(paragraph, "`") {
			part = template.HTMLEscapeString(part)
			if i%2 == 1 {
				part = "<code>" + part + "</code>"
			}
			b.WriteString(part)
		}
		b.WriteString("</p>")
	}
	return template.HTML(b.String()) // escaped above
}
