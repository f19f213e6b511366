// Package routers mounts the handlers of package web in net/http and in other routers.
// The handlers are plain http.Handlers, and need no adapter of ours.
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
	mux.Handle("/login", login) // without a method: the handler answers wrong methods itself
	mux.Handle("/auth/check", check)
	mux.Handle("/logout", logout)
	return mux
}

// Chi mounts the handlers in chi.
func Chi(login, check, logout http.Handler) http.Handler {
	r := chi.NewRouter()
	r.Handle("/login", login)
	r.Handle("/auth/check", check)
	r.Handle("/logout", logout)
	return r
}

// Gin mounts the handlers in gin. Gin's logger writes queries, and so tickets: leave the
// logger out, as here, or set LoggerConfig.SkipPaths to /login.
func Gin(login, check, logout http.Handler) http.Handler {
	gin.SetMode(gin.ReleaseMode)
	r := gin.New()
	r.Any("/login", gin.WrapH(login))
	r.Any("/auth/check", gin.WrapH(check))
	r.Any("/logout", gin.WrapH(logout))
	return r
}

// Echo mounts the handlers in echo. The field URI of Echo's request logger contains the
// ticket: log the path instead.
func Echo(login, check, logout http.Handler) http.Handler {
	e := echo.New()
	e.Any("/login", echo.WrapHandler(login))
	e.Any("/auth/check", echo.WrapHandler(check))
	e.Any("/logout", echo.WrapHandler(logout))
	return e
}
