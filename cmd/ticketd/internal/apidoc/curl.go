package apidoc

import "strings"

// The variables in the commands: the URL of the service, and an API key.
const (
	urlVariable = "$ADMITONE_URL"
	keyVariable = "$ADMITONE_API_KEY"
)

// commands returns a curl command for each example of the body in JSON, or one command. The
// command has the parameters that are mandatory and those with an example. With headers the
// command shows the headers of the answer, too.
func (r *reader) commands(o *Operation, parameters []node, body node, headers bool) (all []Example) {
	path, query, more := o.Path, "", ""
	for _, p := range parameters {
		value := p.text("example")
		switch p.text("in") {
		case "path":
			path = strings.ReplaceAll(path, "{"+p.text("name")+"}", value)
		case "query":
			if value != "" {
				query += "&" + p.text("name") + "=" + value
			}
		case "header":
			if value != "" {
				more += header(p.text("name") + ": " + value)
			}
		}
	}
	if query != "" {
		path += "?" + query[1:]
	}
	start := "curl"
	if headers {
		start += " --include"
	}
	start += ` "` + urlVariable + path + `"`
	if o.Secured {
		start += ` \` + "\n" + `  --header "Authorization: Bearer ` + keyVariable + `"`
	}
	start += more
	plain := start // without a body
	if o.Method != "GET" && (o.Method != "POST" || body.n == nil) {
		plain += ` \` + "\n  --request " + o.Method
	}
	for kind, content := range body.get("content").members() {
		for _, e := range values(content) {
			data := command(kind, e.get("value"))
			if o.Method != "POST" {
				data = ` \` + "\n  --request " + o.Method + data
			}
			all = append(all, Example{e.text("summary"), start + data})
		}
	}
	if len(all) == 0 {
		all = []Example{{Text: plain}}
	}
	return all
}

// command returns the arguments that send a value in the media type.
func command(kind string, value node) (arguments string) {
	switch kind {
	case "application/json":
		return ` \` + "\n  --json " + quoted(value.json())
	case "application/x-www-form-urlencoded":
		for name, v := range value.members() {
			arguments += ` \` + "\n  --data-urlencode " + quoted(name+"="+v.n.Value)
		}
		return arguments
	}
	return header("Content-Type: "+kind) + ` \` + "\n  --data-binary " + quoted(value.n.Value)
}

func header(line string) string { return ` \` + "\n  --header " + quoted(line) }

// quoted returns a word for a shell.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
