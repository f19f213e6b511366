// Package routers shows how a web.Handler is mounted in routers that are not
// net/http's own. It is an http.Handler everywhere; there is nothing to adapt.
package routers

import (
	"net/http"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	"github.com/labstack/echo/v5"
)

// Standard mounts the handlers in net/http's ServeMux.
func Standard(login, check, logout http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/login", login) // all methods: the handler answers those that it does not take
	mux.Handle("/auth/check", check)
	mux.Handle("/logout", logout)
	return mux
}

// Chi mounts them in chi.
func Chi(login, check, logout http.Handler) http.Handler {
	r := chi.NewRouter()
	r.Handle("/login", login)
	r.Handle("/auth/check", check)
	r.Handle("/logout", logout)
	return r
}

// Gin mounts them in gin. Its logger writes queries, and so tickets: leave it out,
// as here, or keep /login from it with LoggerConfig.SkipPaths.
func Gin(login, check, logout http.Handler) http.Handler {
	gin.SetMode(gin.ReleaseMode)
	r := gin.New()
	r.Any("/login", gin.WrapH(login))
	r.Any("/auth/check", gin.WrapH(check))
	r.Any("/logout", gin.WrapH(logout))
	return r
}

// Echo mounts them in echo. Its request logger's URI has the ticket, too: log
// the path.
func Echo(login, check, logout http.Handler) http.Handler {
	e := echo.New()
	e.Any("/login", echo.WrapHandler(login))
	e.Any("/auth/check", echo.WrapHandler(check))
	e.Any("/logout", echo.WrapHandler(logout))
	return e
}
