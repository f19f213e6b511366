// Package web has the HTTP handlers of a login service. They admit people with tickets,
// keep their sessions, and tell proxies who is signed in.
//
// A Handler reads the ticket from the query or a POST form (ta or TA), redeems it with
// a verify.Verifier, starts a session and answers 303 without the ticket. It is an
// http.Handler for one or more routes of any router.
//
//	mux.Handle("/login", handler)         // ?ta=… comes in, a session comes out
//	mux.Handle("/auth/check", check)      // for nginx, Traefik, Caddy, Envoy: NewCheck
//	mux.Handle("/logout", sessions.Logout("/"))
//
// # Spending a ticket
//
// A GET or POST that a person made spends the ticket. HEAD, prefetch, prerender,
// preview, and loading an image or a script for a page get 503 and spend nothing. The
// well-known crawlers that make link previews get a page that names nobody, and spend
// nothing either. The page has a button, for a person whose browser names itself so. Nobody
// can tell an ordinary GET by a mail scanner from a person's. With Entry.Confirm
// the GET only shows who is about to enter, and the button's POST spends. The page needs
// no script.
//
// Everything that could refuse the holder is asked before the ticket is spent: the Check
// of the use, Admit, and who is signed in already (Entry.Switch). Refused people see the
// same page for every reason; the log has the reason. If the service cannot tell now,
// the answer is 503 with Retry-After. The ticket is then unspent, unless a shared store
// took the claim and its answer was lost.
//
// # Asking again
//
// The session's cookie comes with the 303. After a reload or the way back, the browser
// sends the ticket again together with the session. The answer is 303 and no store is
// asked. The confirm page sets a cookie with a random secret, and the hash of the secret
// is the redemption's verify.Use.Binding. If the answer is lost, the browser may send
// the form again within replay.Grace. A first, direct GET has no such grace.
//
// # Other sites
//
// A link on any site can let a person in. So a link can also sign a person in as
// somebody else (login CSRF). Entry.Confirm shows the entry before it happens, and
// Entry.Switch at least if another user is signed in. A confirmation counts only with a
// token of the page that this browser was shown, for this ticket and this user, and
// not if Sec-Fetch-Site or Origin name another site. For browsers without Sec-Fetch-Site,
// the Host decides and SessionConfig.PublicURL: give the latter if a proxy in front
// changes the Host.
//
// The 303 leads to a path of this site: the request's parameter next, or else
// Config.Home, or else the URL without the ticket. If that path redirects to another
// site at once, name the other site in Page.RedirectOrigins.
//
// A proxy in front, or http.StripPrefix, may take a prefix off the path. Pages and
// answers use paths relative to the browser's. Only next and Config.Home are absolute
// paths, as browsers see them.
//
// # Frames
//
// Pages stand in other sites' frames if Page.FrameAncestors allows it. The browser
// decides whether a session lasts in a frame. With SessionConfig.Partitioned, sessions
// last in Chromium from version 114 and Firefox from 141, one for each embedding site
// (CHIPS). Without CHIPS, as in most versions of Safari, or without Partitioned, they do
// not last if the browser blocks third-party cookies.
//
// So the Handler tries a cookie before it spends a ticket in a frame on another site: by
// a redirect to the same URL, or by the confirm page. If the cookie does not
// stay, the page offers a new tab, with the ticket unspent. In-app browsers show
// top-level pages with a cookie jar of their own: the person's usual browser does not
// have the session. A service with its own SessionStore must make its cookies
// Partitioned itself.
//
// # Forward authentication
//
// NewCheck answers from the session cookie alone. nginx passes on neither a
// renewed cookie nor a redirect by itself; examples/nginx has the whole configuration:
//
//	location = /auth/check {
//	    internal;
//	    proxy_pass http://login;
//	    proxy_pass_request_body off;
//	    proxy_set_header Content-Length "";
//	}
//	location / {
//	    auth_request     /auth/check;
//	    auth_request_set $user   $upstream_http_remote_user;
//	    auth_request_set $cookie $upstream_http_set_cookie;
//	    add_header       Set-Cookie $cookie;
//	    proxy_set_header Remote-User $user;      # and so on for each of Headers
//	    error_page 401 = /signed-out;
//	    proxy_pass http://app;
//	}
package web
