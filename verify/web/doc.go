// Package web is what a login service mounts: it admits people with tickets,
// keeps their sessions, and tells proxies who they are.
//
// A Handler reads the ticket from the query or a POST form (ta or TA), redeems
// it with a verify.Verifier, starts a session and answers 303 without the
// ticket. It is an http.Handler, for any router; one route is all it takes.
//
//	mux.Handle("/login", handler)         // ?ta=… comes in, a session comes out
//	mux.Handle("/auth/check", check)      // for nginx, Traefik, Caddy, Envoy: NewCheck
//	mux.Handle("/logout", sessions.Logout("/"))
//
// # What spends a ticket
//
// A GET or POST that a person made. HEAD, prefetch, prerender and preview, and
// what a page loads as an image or script, get 503 and spend nothing. An ordinary GET by a mail scanner cannot be told from a person's:
// with Entry.Confirm the GET only shows who is about to enter, and the button's
// POST spends. The page needs no script.
//
// Everything that could refuse the holder is asked before the ticket is spent:
// Use.Check, Admit, and who is signed in already (Entry.Switch). Refused people
// see one page, whatever the reason; the log has it. Where it cannot be told now,
// the answer is 503 with Retry-After, and the ticket is unspent, unless a shared
// store took the claim and its answer was lost.
//
// # Asking again
//
// The session's cookie comes with the 303. A reload or the way back brings the
// ticket again and the session with it: that answers 303 and asks no store. The
// confirm page sets a cookie with a random secret; its hash is the redemption's
// verify.Use.Binding. A browser whose answer was lost may send the form again
// within replay.Grace. After a first, direct GET there is no such grace.
//
// # Other sites
//
// A link on any site may let in: that is what tickets are for, and it means that
// a link can sign somebody in as somebody else (login CSRF). Entry.Confirm shows
// it before it happens; Entry.Switch at least where another user is signed in.
// A confirmation counts only with a token of the page that this browser was
// shown, for this ticket and the user that it told of, and not where
// Sec-Fetch-Site or Origin name another site. A proxy in front should pass the
// Host on: browsers without Sec-Fetch-Site are told by it.
//
// The 303 leads to a path of this site: the request's parameter next if it is
// one, else Config.Home, else the URL without the ticket. Where that path redirects
// to another site at once, Page.RedirectOrigins must name it.
//
// A proxy in front, or http.StripPrefix, may take a prefix off the path: all else
// that pages and answers refer to is relative to where the browser is. Next and
// Config.Home are paths as browsers know them.
//
// # Frames
//
// Pages stand in other sites' frames where Page.FrameAncestors allows it. Whether
// a session lasts there is the browser's decision. With SessionConfig.Partitioned
// it does in Chromium from version 114 and Firefox from 141, one session for each
// site around (CHIPS); in browsers without CHIPS, as most of Safari's versions,
// and without Partitioned it does not where third-party cookies are blocked.
//
// So before a ticket is spent in a frame on another site, a cookie is tried: by a
// redirect to the same URL and back, or by the confirm page. Where it does not
// stay, the page offers a new tab, with the ticket unspent. In-app browsers are
// top-level pages with a cookie jar of their own: the session is there and not in
// the person's other browser. A service with its own SessionStore needs such
// cookies of its own.
//
// # Forward authentication
//
// NewCheck answers from the session cookie alone. nginx passes on neither a
// renewed cookie nor a redirect by itself; examples/nginx has the whole of it:
//
//	location = /auth/check { internal; proxy_pass http://login; proxy_pass_request_body off; proxy_set_header Content-Length ""; }
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
