// Package apidoc reads an OpenAPI document in order to show the document to people: in
// the order of the text, with references resolved.
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
	Groups      []Group
	Schemas     []Schema
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
}

// A Body describes the body of a request.
type Body struct {
	Description template.HTML
	Contents    []Content
}

// A Content is a body in a media type.
type Content struct {
	Type     string
	Schemas  []string // names of the alternatives in Document.Schemas
	Examples []Example
}

// An Example is a body in JSON.
type Example struct {
	Summary string // may be ""
	JSON    string
}

// A Response describes an answer.
type Response struct {
	Status      string
	Description template.HTML
	Headers     []Field
	Contents    []Content
}

// A Field is a parameter, a header or a member of an object.
type Field struct {
	Name        string
	Type        string
	Schema      string // a name in Schemas, or ""
	Required    bool
	Description template.HTML
}

// A Schema is a named object or value.
type Schema struct {
	Name        string
	Type        string
	Description template.HTML
	Fields      []Field
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
	r := &reader{root: node{root.Content[0]}}
	info := r.root.get("info")
	d := &Document{Title: info.text("title"), Summary: info.text("summary"), Description: prose(info.text("description"))}
	groups := make(map[string]int)
	for _, tag := range r.root.get("tags").items() {
		groups[tag.text("name")] = len(d.Groups)
		d.Groups = append(d.Groups, Group{Name: tag.text("name"), Description: prose(tag.text("description"))})
	}
	for path, item := range r.root.get("paths").members() {
		for method, op := range item.members() {
			if !op.has("operationId") {
				continue // such as the parameters of all operations of the path
			}
			tags := op.get("tags").items()
			if len(tags) == 0 {
				return nil, fmt.Errorf("%s %s has no tag", method, path)
			}
			i, ok := groups[tags[0].n.Value]
			if !ok {
				return nil, fmt.Errorf("%s %s has a tag that is not listed", method, path)
			}
			d.Groups[i].Operations = append(d.Groups[i].Operations, r.operation(path, method, item, op))
		}
	}
	for name, schema := range r.root.get("components").get("schemas").members() {
		if !schema.has("oneOf") { // a choice is shown with the body that offers the choice
			d.Schemas = append(d.Schemas, r.schema(name, schema))
		}
	}
	return d, r.err
}

type reader struct {
	root node
	err  error // the first reference that leads nowhere
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
	for _, list := range []node{item.get("parameters"), op.get("parameters")} {
		for _, p := range list.items() {
			p, _ = r.resolve(p)
			o.Parameters = append(o.Parameters, r.field(p.text("name")+" ("+p.text("in")+")", p, p.text("required") == "true"))
		}
	}
	if op.has("requestBody") {
		body, _ := r.resolve(op.get("requestBody"))
		o.Body = r.body(body)
	}
	for status, response := range op.get("responses").members() {
		response, _ = r.resolve(response)
		o.Responses = append(o.Responses, r.response(status, response))
	}
	return o
}

func (r *reader) body(n node) *Body {
	return &Body{Description: prose(n.text("description")), Contents: r.contents(n)}
}

func (r *reader) response(status string, n node) Response {
	to := Response{Status: status, Description: prose(n.text("description")), Contents: r.contents(n)}
	for name, header := range n.get("headers").members() {
		header, _ = r.resolve(header)
		to.Headers = append(to.Headers, r.field(name, header, header.text("required") == "true"))
	}
	return to
}

// contents returns the media types of a body or an answer, in order.
func (r *reader) contents(n node) (all []Content) {
	for kind, content := range n.get("content").members() {
		c := Content{Type: kind}
		schema, name := r.resolve(content.get("schema"))
		choices := schema.get("oneOf").items()
		for _, choice := range choices {
			_, name := r.resolve(choice)
			c.Schemas = append(c.Schemas, name)
		}
		if name != "" && len(choices) == 0 {
			c.Schemas = []string{name}
		}
		for _, e := range content.get("examples").members() {
			c.Examples = append(c.Examples, Example{e.text("summary"), e.get("value").json()})
		}
		if content.has("example") {
			c.Examples = append(c.Examples, Example{JSON: content.get("example").json()})
		}
		all = append(all, c)
	}
	return all
}

// field returns a parameter or a header, both of which have a schema.
func (r *reader) field(name string, n node, required bool) Field {
	f := Field{Name: name, Required: required, Description: prose(n.text("description"))}
	f.Type, f.Schema = r.kind(n.get("schema"))
	return f
}

func (r *reader) schema(name string, n node) Schema {
	s := Schema{Name: name, Description: prose(n.text("description"))}
	s.Type, _ = r.kind(n)
	s.Fields = r.fields("", n)
	return s
}

// fields returns the members of an object. The members of an inner object follow its
// own entry, with their whole names.
func (r *reader) fields(prefix string, n node) (all []Field) {
	required := make(map[string]bool)
	for _, name := range n.get("required").items() {
		required[name.n.Value] = true
	}
	for name, member := range n.get("properties").members() {
		f := Field{Name: prefix + name, Required: required[name], Description: prose(member.text("description"))}
		f.Type, f.Schema = r.kind(member)
		all = append(all, f)
		all = append(all, r.fields(prefix+name+".", member)...)
	}
	return all
}

// kind describes in words the values that a schema allows, or names the schema.
func (r *reader) kind(n node) (words, name string) {
	if to, name := r.resolve(n); name != "" {
		return to.text("type"), name
	}
	words = n.text("type")
	if words == "array" {
		item, name := r.kind(n.get("items"))
		return "array of " + item, name
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
	return words, ""
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
