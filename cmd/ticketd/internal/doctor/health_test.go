package doctor

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/admitone/admitone/cmd/ticketd/internal/service"
)

// Health tells an answer of a ready service from all others, over HTTPS too.
func TestHealth(t *testing.T) {
	t.Parallel()
	status := http.StatusOK
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, "/readyz", r.URL.Path)
		w.WriteHeader(status)
		_, _ = w.Write([]byte("not ready: directory\n"))
	})
	for _, begin := range []func(http.Handler) *httptest.Server{httptest.NewServer, httptest.NewTLSServer} {
		s := begin(handler)
		c := service.Config{Listen: s.Listener.Addr().String()}
		if strings.HasPrefix(s.URL, "https:") {
			c.CertFile = "tls.crt" // which is not read
		}
		status = http.StatusOK
		assert.Equal(t, Well, Health(t.Context(), c).Result)
		status = http.StatusServiceUnavailable
		f := Health(t.Context(), c)
		assert.Equal(t, Failed, f.Result)
		assert.Equal(t, s.URL+"/readyz answers 503 Service Unavailable: not ready: directory", f.Text)
		s.Close()
		f = Health(t.Context(), c)
		assert.Equal(t, Failed, f.Result)
		assert.Contains(t, f.Remedy, "start the service")
	}
}

func TestReadyURL(t *testing.T) {
	t.Parallel()
	for listen, want := range map[string]string{
		":8080": "http://127.0.0.1:8080/readyz", "0.0.0.0:80": "http://127.0.0.1:80/readyz",
		"[::]:8080": "http://[::1]:8080/readyz", "10.0.0.1:8080": "http://10.0.0.1:8080/readyz",
		"localhost:8080": "http://localhost:8080/readyz",
	} {
		assert.Equal(t, want, readyURL(service.Config{Listen: listen}))
	}
}
