package api

import (
	"net/http"
	"strconv"
	"strings"
)

// bundle answers GET /.well-known/admitone/NAME.pub with the service's own bundle of a name.
// Others keep a bundle for its refresh time, and ask then whether there is a newer one.
func (s *server) bundle(w http.ResponseWriter, r *http.Request) {
	name, ok := strings.CutSuffix(r.PathValue("file"), ".pub")
	b, found := s.Bundles.Of(name)
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	if !ok || !found {
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte("there is no bundle of this name here\n"))
		return
	}
	tag := `"` + b.Fingerprint + `"`
	h.Set("ETag", tag)
	left := int64(b.Until.Sub(s.Now()).Seconds())
	h.Set("Cache-Control", "max-age="+strconv.FormatInt(max(0, min(b.Refresh, left)), 10))
	if matches(r.Header.Values("If-None-Match"), tag) {
		h.Del("Content-Type")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	_, _ = w.Write(b.File)
}

// matches reports whether one of the entity tags in If-None-Match (RFC 9110, section 13.1.2) is
// the tag.
func matches(sent []string, tag string) bool {
	for _, one := range strings.Split(strings.Join(sent, ","), ",") {
		if one = strings.TrimSpace(one); one == "*" || strings.TrimPrefix(one, "W/") == tag {
			return true
		}
	}
	return false
}
