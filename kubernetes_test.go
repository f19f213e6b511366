//go:build unix

package admitone_test

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/admitone/admitone/internal/servers"
)

const manifests = "examples/kubernetes/"

// The parts of Kubernetes' objects that the tests use.
type (
	object struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string
		Metadata   struct{ Name, Namespace string }
		Data       map[string]string
		Spec       yaml.Node
	}

	workload struct {
		Replicas    int
		Selector    matchLabels
		Template    podTemplate
		JobTemplate struct {
			Spec struct{ Template podTemplate }
		} `yaml:"jobTemplate"`
		Claims []struct{ Metadata struct{ Name string } } `yaml:"volumeClaimTemplates"`
	}

	matchLabels struct {
		MatchLabels map[string]string `yaml:"matchLabels"`
	}

	podTemplate struct {
		Metadata struct{ Labels map[string]string }
		Spec     podSpec
	}

	podSpec struct {
		Grace      int      `yaml:"terminationGracePeriodSeconds"`
		Token      *bool    `yaml:"automountServiceAccountToken"`
		Security   security `yaml:"securityContext"`
		Containers []container
		Volumes    []struct {
			Name     string
			EmptyDir *struct{} `yaml:"emptyDir"`
			Claim    struct {
				Name     string `yaml:"claimName"`
				ReadOnly bool   `yaml:"readOnly"`
			} `yaml:"persistentVolumeClaim"`
			Secret struct {
				Name string `yaml:"secretName"`
				Mode int    `yaml:"defaultMode"`
			}
		}
	}

	security struct {
		NonRoot  bool                         `yaml:"runAsNonRoot"`
		User     int                          `yaml:"runAsUser"`
		Group    int                          `yaml:"runAsGroup"`
		FSGroup  int                          `yaml:"fsGroup"`
		Escalate *bool                        `yaml:"allowPrivilegeEscalation"`
		ReadOnly bool                         `yaml:"readOnlyRootFilesystem"`
		Seccomp  struct{ Type string }        `yaml:"seccompProfile"`
		Caps     struct{ Add, Drop []string } `yaml:"capabilities"`
	}

	container struct {
		Name, Image   string
		Command, Args []string
		Env           []struct{ Name, Value string }
		EnvFrom       []struct {
			ConfigMap struct{ Name string } `yaml:"configMapRef"`
			Secret    struct{ Name string } `yaml:"secretRef"`
		} `yaml:"envFrom"`
		Ports     []port
		Startup   probe    `yaml:"startupProbe"`
		Readiness probe    `yaml:"readinessProbe"`
		Liveness  probe    `yaml:"livenessProbe"`
		Security  security `yaml:"securityContext"`
		Mounts    []struct {
			Name     string
			Path     string `yaml:"mountPath"`
			ReadOnly bool   `yaml:"readOnly"`
		} `yaml:"volumeMounts"`
	}

	port struct {
		Name string
		Port string `yaml:"containerPort"`
	}

	probe struct {
		Get struct{ Path, Port string } `yaml:"httpGet"`
	}
)

// kubernetesFiles returns the manifests, without the kustomization, which has to name all of them but
// the job that runs once.
func kubernetesFiles(t *testing.T) (files []string) {
	t.Helper()
	files, err := filepath.Glob(manifests + "*.yaml")
	require.NoError(t, err)
	files = slices.DeleteFunc(files, func(f string) bool { return filepath.Base(f) == "kustomization.yaml" })
	var kustomization struct{ Resources []string }
	require.NoError(t, yaml.Unmarshal([]byte(read(t, manifests+"kustomization.yaml")), &kustomization))
	named := []string{manifests + "init.yaml"}
	for _, name := range kustomization.Resources {
		named = append(named, manifests+name)
	}
	require.ElementsMatch(t, files, named)
	return files
}

// documentsOf decodes each document of a YAML file.
func documentsOf[T any](t *testing.T, text string) (all []T) {
	t.Helper()
	for d := yaml.NewDecoder(strings.NewReader(text)); ; {
		var v T
		err := d.Decode(&v)
		if err == io.EOF {
			return all
		}
		require.NoError(t, err)
		all = append(all, v)
	}
}

// schema is Kubernetes' own description of its objects, in OpenAPI 2.
type schema struct {
	Definitions map[string]*property
}

type property struct {
	Ref        string `json:"$ref"`
	Type       string
	Format     string
	Required   []string
	Properties map[string]*property
	Additional *property `json:"additionalProperties"`
	Items      *property
	Kinds      []kind `json:"x-kubernetes-group-version-kind"`
}

type kind struct{ Group, Version, Kind string }

func readSchema(t *testing.T) (s schema) {
	t.Helper()
	file := os.Getenv("KUBERNETES_SCHEMA")
	if file == "" {
		if os.Getenv("CI") != "" {
			t.Fatal("KUBERNETES_SCHEMA is not set, and CI is set")
		}
		t.Skip("KUBERNETES_SCHEMA names no file: testdata/openapi/swagger.json of the Go module k8s.io/kubectl")
	}
	require.NoError(t, readJSON(file, &s))
	s.addRoute(t)
	return s
}

// addRoute adds the HTTPRoute of Kubernetes' Gateway API, which has a schema of its own, in OpenAPI 3.
func (s schema) addRoute(t *testing.T) {
	t.Helper()
	file := os.Getenv("GATEWAY_SCHEMA")
	if file == "" {
		if os.Getenv("CI") != "" {
			t.Fatal("GATEWAY_SCHEMA is not set, and CI is set")
		}
		t.Skip("GATEWAY_SCHEMA names no file: config/crd/standard/gateway.networking.k8s.io_httproutes.yaml of the " +
			"Go module sigs.k8s.io/gateway-api")
	}
	var definition struct {
		Spec struct {
			Group    string
			Names    struct{ Kind string }
			Versions []struct {
				Name   string
				Schema struct {
					Object map[string]any `yaml:"openAPIV3Schema"`
				}
			}
		}
	}
	require.NoError(t, yaml.Unmarshal([]byte(read(t, file)), &definition))
	require.NotEmpty(t, definition.Spec.Versions)
	for _, version := range definition.Spec.Versions {
		text, err := json.Marshal(version.Schema.Object)
		require.NoError(t, err)
		p := new(property)
		require.NoError(t, json.Unmarshal(text, p))
		p.Kinds = append(p.Kinds, kind{definition.Spec.Group, version.Name, definition.Spec.Names.Kind})
		s.Definitions[definition.Spec.Names.Kind+" "+version.Name] = p
	}
}

// of returns the definition of a kind.
func (s schema) of(apiVersion, kind string) *property {
	group, version, ok := strings.Cut(apiVersion, "/")
	if !ok {
		group, version = "", apiVersion
	}
	if group == "policy" {
		version = "v1beta1" // the schema is older than v1, which has the same fields of a budget
	}
	for _, p := range s.Definitions {
		for _, k := range p.Kinds {
			if k.Group == group && k.Version == version && k.Kind == kind {
				return p
			}
		}
	}
	return nil
}

// mistakes returns what the schema refuses in a value: fields that it does not have, fields that
// are missing, and other types.
func (s schema) mistakes(p *property, v any, at string) (all []string) {
	for p.Ref != "" {
		p = s.Definitions[strings.TrimPrefix(p.Ref, "#/definitions/")]
	}
	kind := p.Type
	switch v := v.(type) {
	case map[string]any:
		if p.Properties == nil && p.Additional == nil {
			if kind == "object" {
				return nil
			}
			return []string{at + " is an object"}
		}
		for _, name := range p.Required {
			if _, ok := v[name]; !ok {
				all = append(all, at+" lacks "+name)
			}
		}
		for name, value := range v {
			field := p.Properties[name]
			if field == nil {
				field = p.Additional
			}
			if field == nil {
				all = append(all, at+" has no field "+name)
				continue
			}
			all = append(all, s.mistakes(field, value, at+"."+name)...)
		}
		return all
	case []any:
		if kind != "array" {
			return []string{at + " is a list"}
		}
		for i, value := range v {
			all = append(all, s.mistakes(p.Items, value, fmt.Sprintf("%s[%d]", at, i))...)
		}
		return all
	}
	names := map[string]string{"string": "string", "int": "integer", "bool": "boolean", "float64": "number"}
	got := names[fmt.Sprintf("%T", v)]
	if got != kind && !(p.Format == "int-or-string" && got == "integer") {
		return []string{fmt.Sprintf("%s is a %s", at, got)}
	}
	return nil
}

// Kubernetes' schema accepts the manifests, and refuses others.
func TestKubernetesSchema(t *testing.T) {
	s := readSchema(t)
	check := func(text string) (all []string) {
		for _, v := range documentsOf[map[string]any](t, text) {
			version, _ := v["apiVersion"].(string)
			kind, _ := v["kind"].(string)
			p := s.of(version, kind)
			require.NotNil(t, p, "%s %s", version, kind)
			all = append(all, s.mistakes(p, v, kind)...)
		}
		return all
	}
	for _, file := range kubernetesFiles(t) {
		assert.Empty(t, check(read(t, file)), file)
	}
	text := read(t, manifests+"ticketd.yaml")
	for _, tc := range []struct{ old, changed, want string }{
		{"readinessProbe:", "readynessProbe:", "has no field readynessProbe"},
		{"readOnlyRootFilesystem: true", "readOnlyRootFilesystem: yes please", "readOnlyRootFilesystem is a string"},
		{"replicas: 2", `replicas: "2"`, "replicas is a string"},
		{"serviceName: admitone\n", "\n", "lacks serviceName"},
		{"containerPort: 8080", "port: 8080", "lacks containerPort"},
		{"args:\n", "args: serve\n          command:\n", "args is a string"},
		{"minAvailable: 1", "minAvailable: [1]", "minAvailable is a list"},
	} {
		require.Contains(t, text, tc.old)
		assert.Contains(t, strings.Join(check(strings.Replace(text, tc.old, tc.changed, 1)), "\n"), tc.want)
	}
	route := strings.Replace(read(t, manifests+"network.yaml"), "backendRefs:", "backends:", 1)
	assert.Contains(t, strings.Join(check(route), "\n"), "has no field backends")
}

// cluster runs the pods of the manifests, by the stand-in for docker.
type cluster struct {
	t       *testing.T
	env     []string
	dir     string
	objects map[string]object            // by kind and name
	secrets map[string]map[string]string // by name
	ports   map[string]string            // by pod and the container's own port
}

func newCluster(t *testing.T, env []string) *cluster {
	t.Helper()
	c := &cluster{t: t, env: env, dir: t.TempDir(), objects: make(map[string]object),
		secrets: make(map[string]map[string]string), ports: make(map[string]string)}
	for _, file := range kubernetesFiles(t) {
		for _, o := range documentsOf[object](t, read(t, file)) {
			c.objects[o.Kind+" "+o.Metadata.Name] = o
			if o.Kind != "Namespace" {
				assert.Equal(t, "admitone", o.Metadata.Namespace, o.Metadata.Name)
			}
		}
	}
	return c
}

// workload returns the specification of a workload.
func (c *cluster) workload(kind, name string) (w workload) {
	c.t.Helper()
	o, ok := c.objects[kind+" "+name]
	require.True(c.t, ok, "%s %s", kind, name)
	require.NoError(c.t, o.Spec.Decode(&w))
	if kind == "CronJob" {
		w.Template = w.JobTemplate.Spec.Template
	}
	return w
}

// folder returns a folder as a node makes them: of root, and writable by the pod's group.
func (c *cluster) folder(name string, mode os.FileMode) string {
	c.t.Helper()
	path := filepath.Join(c.dir, name)
	if _, err := os.Stat(path); err != nil {
		require.NoError(c.t, os.MkdirAll(path, 0o755))
		require.NoError(c.t, os.Chown(path, 0, 65532))
		require.NoError(c.t, os.Chmod(path, mode|os.ModeSetgid))
	}
	return path
}

// secret returns a folder with the files of a Secret as a node makes it: the files are root's, and
// links lead to them.
func (c *cluster) secret(name string, mode int) string {
	c.t.Helper()
	path := c.folder("secret-"+name, 0o777)
	version := filepath.Join(path, "..2026")
	if os.Mkdir(version, 0o755) != nil {
		return path
	}
	require.NoError(c.t, os.Symlink("..2026", filepath.Join(path, "..data")))
	for file, text := range c.secrets[name] {
		at := filepath.Join(version, file)
		require.NoError(c.t, os.WriteFile(at, []byte(text), 0o600))
		require.NoError(c.t, os.Chown(at, 0, 65532))
		require.NoError(c.t, os.Chmod(at, os.FileMode(mode|0o040)))
		require.NoError(c.t, os.Symlink("..data/"+file, filepath.Join(path, file)))
	}
	return path
}

var listened = regexp.MustCompile(`:\d{4}$`)

// run runs a container of a pod. With other arguments, these take the place of the container's.
func (c *cluster) run(pod string, w workload, k container, options []string, args ...string) (string, error) {
	c.t.Helper()
	spec := w.Template.Spec
	words := append(append([]string{"run", "--read-only"}, options...), "-e", "GOTRACEBACK=single")
	for _, e := range k.Env {
		words = append(words, "-e", e.Name+"="+e.Value)
	}
	for _, from := range k.EnvFrom {
		values := c.objects["ConfigMap "+from.ConfigMap.Name].Data
		if from.Secret.Name != "" {
			values = c.secrets[from.Secret.Name]
		}
		require.NotEmpty(c.t, values)
		for name, value := range values {
			words = append(words, "-e", name+"="+value)
		}
	}
	folders := make(map[string]string)
	for _, claim := range w.Claims {
		folders[claim.Metadata.Name] = c.folder(pod+"-"+claim.Metadata.Name, 0o775)
	}
	for _, v := range spec.Volumes {
		switch {
		case v.EmptyDir != nil:
			folders[v.Name] = c.folder(pod+"-"+v.Name, 0o777)
		case v.Claim.Name != "":
			require.Contains(c.t, c.objects, "PersistentVolumeClaim "+v.Claim.Name)
			folders[v.Name] = c.folder("claim-"+v.Claim.Name, 0o775)
		default:
			folders[v.Name] = c.secret(v.Secret.Name, v.Secret.Mode)
		}
	}
	for _, m := range k.Mounts {
		require.Contains(c.t, folders, m.Name)
		mount := folders[m.Name] + ":" + m.Path
		if m.ReadOnly {
			mount += ":ro"
		}
		words = append(words, "-v", mount)
	}
	if len(k.Command) > 0 {
		words = append(words, "--entrypoint", k.Command[0])
	}
	words = append(words, k.Image)
	if args == nil {
		args = slices.Clone(k.Args)
	}
	for i := range args { // all pods share the network of this machine
		args[i] = listened.ReplaceAllStringFunc(args[i], func(port string) string {
			key := pod + " " + port[1:]
			if c.ports[key] == "" {
				c.ports[key] = strconv.Itoa(servers.Port(c.t))
			}
			return ":" + c.ports[key]
		})
		args[i] = strings.Replace(args[i], "=:", "=127.0.0.1:", 1)
	}
	return c.docker(append(words, args...)...)
}

// docker returns the standard output of the stand-in, and after an error all output.
func (c *cluster) docker(args ...string) (string, error) {
	c.t.Helper()
	cmd := exec.Command("testdata/container/docker", args...)
	cmd.Env = append(os.Environ(), c.env...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return string(out) + stderr.String(), err
	}
	return string(out), nil
}

// start starts a pod's only container, and returns when its probes succeed.
func (c *cluster) start(pod string, w workload) (url string) {
	c.t.Helper()
	require.Len(c.t, w.Template.Spec.Containers, 1)
	k := w.Template.Spec.Containers[0]
	out, err := c.run(pod, w, k, []string{"-d", "--name", pod})
	require.NoError(c.t, err, out)
	pid, err := strconv.Atoi(strings.TrimSpace(out))
	require.NoError(c.t, err, out)
	c.t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
	for _, p := range []probe{k.Startup, k.Liveness, k.Readiness} {
		i := slices.IndexFunc(k.Ports, func(named port) bool { return named.Name == p.Get.Port })
		require.GreaterOrEqual(c.t, i, 0, p.Get.Port)
		url = "http://127.0.0.1:" + c.ports[pod+" "+k.Ports[i].Port]
		if !assert.Eventually(c.t, func() bool {
			res, err := http.Get(url + p.Get.Path)
			return err == nil && res.Body.Close() == nil && res.StatusCode == http.StatusOK
		}, time.Minute, 20*time.Millisecond) {
			out, _ := c.docker("logs", pod)
			c.t.Fatal(out)
		}
	}
	return url
}

// exec runs a program in a running pod.
func (c *cluster) exec(pod string, words ...string) string {
	c.t.Helper()
	out, err := c.docker(append([]string{"exec", pod}, words...)...)
	require.NoError(c.t, err, out)
	return out
}

// enter issues a ticket at one service, and returns the answer of another to the browser that
// enters with it.
func enter(t *testing.T, key, issuer, login string) func() int {
	t.Helper()
	body := `{"brand":"commbox","username":"john.d","email":"john.d@gmail.com"}`
	r, err := http.NewRequest(http.MethodPost, issuer+"/auth/ticket", strings.NewReader(body))
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer "+key)
	r.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer res.Body.Close()
	var answer struct {
		Data struct {
			Ticket string `json:"encpryptedString"`
		}
	}
	require.NoError(t, json.NewDecoder(res.Body).Decode(&answer))
	require.NotEmpty(t, answer.Data.Ticket)
	return func() int {
		r, err := http.NewRequest(http.MethodGet, login+"/login?ta="+answer.Data.Ticket, nil)
		require.NoError(t, err)
		res, err := http.DefaultTransport.RoundTrip(r)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		return res.StatusCode
	}
}

// The pods of the manifests run with their users, mounts, variables and probes: keyrings and
// directory are made once, a ticket of one service admits once at another, and the job's rotation
// reaches both.
func TestKubernetes(t *testing.T) {
	t.Parallel()
	c := newCluster(t, withDocker(t))
	kek := make([]byte, 32)
	_, _ = rand.Read(kek) // never fails
	c.secrets["admitone-kek"] = map[string]string{"kek.key": string(kek)}
	c.secrets["admitone"] = map[string]string{"ADMITONE_DATABASE": servers.Database(t),
		"ADMITONE_REPLAY": servers.Redis(t, "").URL}
	job := c.workload("Job", "admitone-init")
	out, err := c.run("init", job, job.Template.Spec.Containers[0], nil)
	require.NoError(t, err, out)
	_, err = c.run("init-again", job, job.Template.Spec.Containers[0], nil)
	require.Error(t, err)

	services := c.workload("StatefulSet", "admitone")
	var urls []string
	for i := range services.Replicas {
		urls = append(urls, c.start(fmt.Sprintf("admitone-%d", i), services))
	}
	require.Len(t, urls, 2)
	c.exec("admitone-0", "ticketd", "brand", "add", "commbox", "--one-time")
	c.exec("admitone-0", "ticketd", "agent", "add", "john.d", "--brand", "commbox", "--email", "john.d@gmail.com")
	key := strings.TrimSpace(c.exec("admitone-0", "ticketd", "apikey", "add", "--brands", "commbox"))
	c.exec("admitone-0", "ticketd", "administrator", "add", "root", "--role", "admin", "--all-brands")
	assert.Contains(t, c.exec("admitone-1", "ticketd", "console", "link", "--user", "root"), "http://localhost:8433/")
	again := enter(t, key, urls[0], urls[1])
	// A new store refuses tickets for as long as the clocks may differ.
	for end := time.Now().Add(time.Minute); again() != http.StatusSeeOther; again = enter(t, key, urls[0], urls[1]) {
		require.True(t, time.Now().Before(end), "no ticket is admitted")
		time.Sleep(100 * time.Millisecond)
	}
	assert.Equal(t, http.StatusForbidden, again())

	out, err = c.docker("exec", "admitone-0", "keyring", "rotate", "/keys/ticket.keyring", "--now")
	require.Error(t, err)
	assert.Contains(t, out, "read-only file system", "services cannot change keyrings")
	rotate := c.workload("CronJob", "keyring-rotate")
	for _, k := range rotate.Template.Spec.Containers {
		out, err := c.run("rotate-"+k.Name, rotate, k, nil)
		require.NoError(t, err, out)
		assert.Contains(t, out, "nothing is due")
	}
	writer := rotate.Template.Spec.Containers[0]
	out, err = c.run("rotate-now", rotate, writer, nil, "rotate", "/keys/ticket.keyring", "--now")
	require.NoError(t, err, out)
	for i := range urls {
		require.Eventually(t, func() bool {
			out, err := c.docker("logs", fmt.Sprintf("admitone-%d", i))
			return err == nil && strings.Contains(out, `"generation":2`)
		}, time.Minute, 50*time.Millisecond)
	}
	assert.Equal(t, http.StatusSeeOther, enter(t, key, urls[1], urls[0])())
}

// The manifests agree with each other, and with what the cluster's strictest profile asks of pods.
func TestKubernetesManifests(t *testing.T) {
	t.Parallel()
	c := newCluster(t, nil)
	images := make(map[string]bool)
	for _, o := range c.objects {
		if !slices.Contains([]string{"StatefulSet", "Job", "CronJob"}, o.Kind) {
			continue
		}
		pod := c.workload(o.Kind, o.Metadata.Name).Template.Spec
		name := o.Metadata.Name
		assert.True(t, pod.Security.NonRoot, name)
		assert.Equal(t, []int{65532, 65532, 65532}, []int{pod.Security.User, pod.Security.Group, pod.Security.FSGroup}, name)
		assert.Equal(t, "RuntimeDefault", pod.Security.Seccomp.Type, name)
		require.NotNil(t, pod.Token, name)
		assert.False(t, *pod.Token, name)
		for _, k := range pod.Containers {
			images[k.Image] = true
			require.NotNil(t, k.Security.Escalate, name)
			assert.False(t, *k.Security.Escalate, name)
			assert.True(t, k.Security.ReadOnly, name)
			assert.Equal(t, []string{"ALL"}, k.Security.Caps.Drop, name)
			assert.Empty(t, k.Security.Caps.Add, name)
			for _, m := range k.Mounts {
				isKeyWriter := o.Kind != "StatefulSet" && m.Name == "keys"
				assert.Equal(t, !isKeyWriter && m.Name != "data", m.ReadOnly, "%s: %s", name, m.Name)
			}
		}
	}
	assert.Len(t, images, 1)

	services := c.workload("StatefulSet", "admitone")
	args := strings.Join(services.Template.Spec.Containers[0].Args, " ")
	assert.Contains(t, args, fmt.Sprintf("--replicas=%d ", services.Replicas))
	drain := regexp.MustCompile(`--drain-delay=(\S+)`).FindStringSubmatch(args)
	require.NotNil(t, drain)
	delay, err := time.ParseDuration(drain[1])
	require.NoError(t, err)
	grace := time.Duration(services.Template.Spec.Grace) * time.Second
	assert.GreaterOrEqual(t, grace, delay+25*time.Second+5*time.Second, "docs/containers.md has the 25 seconds")
	assert.Contains(t, args, "--console-listen=127.0.0.1:", "no other pod reaches the console")

	labels := services.Template.Metadata.Labels
	var budget workload
	o := c.objects["PodDisruptionBudget admitone"]
	require.NoError(t, o.Spec.Decode(&budget))
	var service struct{ Selector map[string]string }
	o = c.objects["Service admitone"]
	require.NoError(t, o.Spec.Decode(&service))
	for _, selector := range []map[string]string{
		services.Selector.MatchLabels, budget.Selector.MatchLabels, service.Selector,
	} {
		require.NotEmpty(t, selector)
		for name, value := range selector {
			assert.Equal(t, value, labels[name])
		}
	}
	// Those that ticketd makes, and that have a policy which rotates them.
	var rotated []string
	for _, k := range c.workload("CronJob", "keyring-rotate").Template.Spec.Containers {
		rotated = append(rotated, filepath.Base(k.Args[1]))
	}
	assert.Equal(t, []string{"ticket.keyring", "session.keyring"}, rotated)
}
