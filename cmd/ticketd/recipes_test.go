package main

import (
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// askable is a ticketd as the recipes have it. Those whose proxy is not at hand are
// held against what it serves.
type askable struct {
	t     *testing.T
	local string
	check http.Header // of its answer to nobody
	agent string      // the cookie of an agent's session

	own, foreign *http.Cookie // sessions of an agent of the recipes' brand, and of another brand
}

func newServed(t *testing.T) *askable {
	t.Helper()
	s := &askable{t: t, local: "http://" + freeAddress(t)}
	data := filepath.Join(t.TempDir(), "data")
	_, info := startDemo(t, "--data", data, "--public-url", "https://app.example.com",
		"--agent-sign-in-url", "https://crm.example.com/signin?return={return}",
		"--listen", strings.TrimPrefix(s.local, "http://"))
	info.URL = s.local
	s.check = s.ask(http.MethodGet, "/auth/brand/commbox/check").Header
	enter := func(ticket string) *http.Cookie {
		entered := s.ask(http.MethodGet, "/login?ta="+ticket)
		require.Equal(t, http.StatusSeeOther, entered.StatusCode)
		require.Len(t, entered.Cookies(), 1)
		return entered.Cookies()[0]
	}
	s.own = enter(info.ticket(t, info.request(true)))
	s.foreign = enter(otherBrand(t, data, info))
	s.agent = s.own.Name
	return s
}

// closed wants a recipe's check to let the agents of its own brand pass.
//
// trap W10: the agent of another brand with the same username is nobody.
func (s *askable) closed(path string) {
	s.t.Helper()
	assert.Equal(s.t, http.StatusOK, s.ask(http.MethodGet, path, s.own).StatusCode, path)
	assert.Equal(s.t, http.StatusUnauthorized, s.ask(http.MethodGet, path, s.foreign).StatusCode, path)
	assert.Equal(s.t, http.StatusUnauthorized, s.ask(http.MethodDelete, path).StatusCode, path)
}

func (s *askable) ask(method, path string, cookies ...*http.Cookie) *http.Response {
	s.t.Helper()
	r, err := http.NewRequest(method, s.local+path, nil)
	require.NoError(s.t, err)
	for _, c := range cookies {
		r.AddCookie(c)
	}
	res, err := http.DefaultTransport.RoundTrip(r)
	require.NoError(s.t, err)
	require.NoError(s.t, res.Body.Close())
	return res
}

// askFor asks a check as Traefik does for somebody who wants a path.
func (s *askable) askFor(check, wanted string, cookie *http.Cookie) *http.Response {
	s.t.Helper()
	r, err := http.NewRequest(http.MethodGet, s.local+check, nil)
	require.NoError(s.t, err)
	r.Header.Set("X-Forwarded-Uri", wanted)
	r.AddCookie(cookie)
	res, err := http.DefaultTransport.RoundTrip(r)
	require.NoError(s.t, err)
	require.NoError(s.t, res.Body.Close())
	return res
}

// headers wants a recipe to name all headers of the check, and no others.
func (s *askable) headers(named []string) {
	s.t.Helper()
	for i, name := range named {
		named[i] = http.CanonicalHeaderKey(name)
	}
	assert.ElementsMatch(s.t, identity, named)
	for _, name := range named {
		assert.Contains(s.t, s.check, name)
	}
}

// doors wants people to be let through to where they enter and sign out, in all
// spellings that ticketd knows, and only there.
func (s *askable) doors(pattern string) {
	s.t.Helper()
	open, err := regexp.Compile("^(?:" + pattern + ")$")
	require.NoError(s.t, err)
	for _, path := range []string{"/login", "/LOGIN", "/login/", "/Login/", "/logout", "/LogOut/", "/chat/x", "/CHAT/x/"} {
		assert.Regexp(s.t, open, path)
		assert.Contains(s.t, []int{http.StatusForbidden, http.StatusSeeOther, http.StatusPermanentRedirect},
			s.ask(http.MethodPost, path).StatusCode, path)
	}
	for _, path := range []string{"/", "/inbox", "/loginx", "/login/x", "/x/login", "/chat", "/chat/", "/chat/x/y",
		"/chat//", "/auth/ticket", "/auth/brand/commbox/check", "/docs", "/login\n"} {
		assert.NotRegexp(s.t, open, path)
	}
}

// entry wants nobody to be sent to where the agents of the recipes' brand enter, and from
// there back.
//
// trap W17: each recipe keeps the place that somebody asked for.
func (s *askable) entry(location, wanted string) {
	s.t.Helper()
	assert.Equal(s.t, "/login?brand=commbox&to="+wanted, location)
	signIn := s.ask(http.MethodGet, location).Header.Get("Location")
	to, err := url.Parse(signIn)
	require.NoError(s.t, err)
	back, err := url.Parse(to.Query().Get("return"))
	require.NoError(s.t, err)
	assert.Equal(s.t, wanted, back.Query().Get("next"), signIn)
}

// at wants an address to be that at which the recipe's ticketd listens.
func (s *askable) at(address string) {
	s.t.Helper()
	assert.Equal(s.t, serveCommand(nil).Flag("listen").DefValue, address)
}

// parse reads a recipe; what the test does not know of stays unread.
func parse(t *testing.T, path string, into any) string {
	t.Helper()
	text := recipe(t, path)
	require.NoError(t, yaml.Unmarshal(text, into))
	return string(text)
}

// trap W5: examples/traefik names what ticketd has.
func TestTraefikRecipe(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	var main struct {
		EntryPoints map[string]struct {
			HTTP struct {
				Aliases string `yaml:"aliasHeadersStrategy"`
			}
		} `yaml:"entryPoints"`
		AccessLog struct {
			Format string
			Fields struct {
				Names   map[string]string
				Headers struct {
					DefaultMode string `yaml:"defaultMode"`
				}
			}
		} `yaml:"accessLog"`
	}
	parse(t, "traefik/traefik.yaml", &main)
	assert.Equal(t, "delete", main.EntryPoints["https"].HTTP.Aliases, "Remote_User is Remote-User to many")
	assert.Equal(t, "json", main.AccessLog.Format, "the other one cannot leave fields out")
	assert.Equal(t, map[string]string{"RequestPath": "drop", "RequestLine": "drop"}, main.AccessLog.Fields.Names)
	assert.Equal(t, "drop", main.AccessLog.Fields.Headers.DefaultMode)

	var routes struct {
		HTTP struct {
			Routers map[string]struct {
				Rule, Service string
				Middlewares   []string
			}
			Middlewares map[string]struct {
				ForwardAuth struct {
					Address  string
					Preserve bool     `yaml:"preserveLocationHeader"`
					Trust    *bool    `yaml:"trustForwardHeader"`
					Response []string `yaml:"authResponseHeaders"`
					Cookies  []string `yaml:"addAuthCookiesToResponse"`
				} `yaml:"forwardAuth"`
				Headers struct {
					Request map[string]string `yaml:"customRequestHeaders"`
				}
			}
			Services map[string]struct {
				LoadBalancer struct{ Servers []struct{ URL string } } `yaml:"loadBalancer"`
			}
		}
	}
	parse(t, "traefik/routes.yaml", &routes)
	pattern, ok := strings.CutPrefix(routes.HTTP.Routers["doors"].Rule, "Host(`app.example.com`) && PathRegexp(`")
	require.True(t, ok)
	s.doors(strings.TrimSuffix(pattern, "`)"))
	assert.Empty(t, routes.HTTP.Routers["doors"].Middlewares)
	assert.Equal(t, []string{"signed-in"}, routes.HTTP.Routers["app"].Middlewares)
	upgrades := routes.HTTP.Routers["app-upgrades"]
	assert.Contains(t, upgrades.Rule, "!HeaderRegexp(`Upgrade`, `(?i)^websocket$`)")
	assert.Equal(t, []string{"no-upgrade", "signed-in"}, upgrades.Middlewares)
	assert.Equal(t, map[string]string{"Upgrade": ""}, routes.HTTP.Middlewares["no-upgrade"].Headers.Request)
	for _, r := range routes.HTTP.Routers {
		assert.Contains(t, routes.HTTP.Services, r.Service)
		for _, name := range r.Middlewares {
			assert.Contains(t, routes.HTTP.Middlewares, name)
		}
	}
	auth := routes.HTTP.Middlewares["signed-in"].ForwardAuth
	s.headers(auth.Response)
	assert.Equal(t, []string{s.agent}, auth.Cookies)
	for _, address := range []string{auth.Address, routes.HTTP.Services["ticketd"].LoadBalancer.Servers[0].URL} {
		u, err := url.Parse(address)
		require.NoError(t, err)
		s.at(u.Host)
	}
	u, err := url.Parse(auth.Address)
	require.NoError(t, err)
	s.closed(u.Path)
	for _, cookie := range []*http.Cookie{{Name: "other"}, s.foreign} { // trap W10
		res := s.askFor(u.RequestURI(), "/inbox?x=1&y=%2F", cookie)
		assert.Equal(t, http.StatusSeeOther, res.StatusCode)
		s.entry(res.Header.Get("Location"), "/inbox?x=1&y=%2F")
	}
	assert.Equal(t, http.StatusOK, s.askFor(u.RequestURI(), "/inbox", s.own).StatusCode)
	assert.True(t, auth.Preserve)
	assert.False(t, *auth.Trust)
}

// trap W5: examples/envoy names what ticketd has.
func TestEnvoyRecipe(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	type patterns struct{ Patterns []struct{ Exact string } }
	exact := func(p patterns) (all []string) {
		for _, one := range p.Patterns {
			all = append(all, one.Exact)
		}
		return all
	}
	type address struct {
		SocketAddress struct {
			Address string
			Port    string `yaml:"port_value"`
		} `yaml:"socket_address"`
	}
	var envoy struct {
		Static struct {
			Listeners []struct {
				Chains []struct {
					Filters []struct {
						Config struct {
							Filters []struct {
								Name   string
								Config struct {
									Mutations struct {
										Request []struct {
											Remove struct {
												Key struct {
													Regex struct{ Regex string } `yaml:"safe_regex"`
												} `yaml:"key_matcher"`
											} `yaml:"remove_on_match"`
										} `yaml:"request_mutations"`
									}
									FailOpen bool     `yaml:"failure_mode_allow"`
									Allowed  patterns `yaml:"allowed_headers"`
									Service  struct {
										URI      struct{ URI, Cluster string } `yaml:"server_uri"`
										Prefix   string                        `yaml:"path_prefix"`
										Response struct {
											Upstream patterns `yaml:"allowed_upstream_headers"`
											Client   patterns `yaml:"allowed_client_headers_on_success"`
										} `yaml:"authorization_response"`
									} `yaml:"http_service"`
								} `yaml:"typed_config"`
							} `yaml:"http_filters"`
							Routes struct {
								Hosts []struct {
									Routes []struct {
										Match struct {
											Prefix string
											Regex  struct{ Regex string } `yaml:"safe_regex"`
										}
										Route     struct{ Cluster string }
										PerFilter map[string]struct{ Disabled bool } `yaml:"typed_per_filter_config"`
									}
								} `yaml:"virtual_hosts"`
							} `yaml:"route_config"`
						} `yaml:"typed_config"`
					}
				} `yaml:"filter_chains"`
			}
			Clusters []struct {
				Name string
				Load struct {
					Endpoints []struct {
						LB []struct{ Endpoint struct{ Address address } } `yaml:"lb_endpoints"`
					}
				} `yaml:"load_assignment"`
			}
		} `yaml:"static_resources"`
	}
	text := parse(t, "envoy/envoy.yaml", &envoy)
	location := regexp.MustCompile(`key: Location, value: "(.*)%REQ\(:PATH\)%"`).FindStringSubmatch(text)
	require.NotNil(t, location)
	s.entry(location[1]+"/inbox?x=1&y=%2F", "/inbox?x=1&y=%2F")
	assert.Equal(t, 1, strings.Count(text, "%REQ(:PATH)%"), "the log has no query")
	clusters := make(map[string]string)
	for _, c := range envoy.Static.Clusters {
		a := c.Load.Endpoints[0].LB[0].Endpoint.Address.SocketAddress
		clusters[c.Name] = net.JoinHostPort(a.Address, a.Port)
	}
	s.at(clusters["ticketd"])

	manager := envoy.Static.Listeners[0].Chains[0].Filters[0].Config
	require.Len(t, manager.Filters, 3)
	require.Len(t, manager.Filters[0].Config.Mutations.Request, 1)
	removed, err := regexp.Compile("^(?:" + manager.Filters[0].Config.Mutations.Request[0].Remove.Key.Regex.Regex + ")$")
	require.NoError(t, err)
	for _, name := range identity {
		for _, spelt := range spellings(name) {
			assert.Regexp(t, removed, strings.ToLower(spelt))
		}
	}
	assert.NotRegexp(t, removed, "remotely")
	const name = "envoy.filters.http.ext_authz"
	require.Equal(t, name, manager.Filters[1].Name)
	auth := manager.Filters[1].Config
	assert.False(t, auth.FailOpen)
	assert.Equal(t, []string{"cookie", "x-forwarded-for", "x-request-id"}, exact(auth.Allowed))
	assert.Equal(t, "ticketd", auth.Service.URI.Cluster)
	assert.Equal(t, "http://"+clusters["ticketd"], auth.Service.URI.URI)
	s.headers(exact(auth.Service.Response.Upstream))
	assert.Equal(t, []string{"set-cookie"}, exact(auth.Service.Response.Client))
	for _, path := range []string{"/", "/inbox?x=1", "/-customer", "/login", "/brand/beta/check?brand=beta"} {
		s.closed(auth.Service.Prefix + path)
	}
	up := s.ask(http.MethodGet, auth.Service.Prefix+"/../../beta/check", s.foreign)
	assert.NotEqual(t, http.StatusOK, up.StatusCode, "no way back")

	routes := manager.Routes.Hosts[0].Routes
	require.Len(t, routes, 2)
	assert.Equal(t, "ticketd", routes[0].Route.Cluster)
	assert.True(t, routes[0].PerFilter[name].Disabled)
	s.doors(routes[0].Match.Regex.Regex)
	last := routes[1]
	assert.Equal(t, "/", last.Match.Prefix)
	assert.Equal(t, "app", last.Route.Cluster)
	assert.Empty(t, last.PerFilter, "everything else is asked about")
}
