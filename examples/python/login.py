"""A login service in Python that lets ticketd spend the ticket. Needs Python 3.8 or later, and no packages.
Environment: PORT, TICKETD (its URL), API_KEY (scope redeem).

Sessions are kept in memory: use your own sessions here. In production, run the service behind TLS, and give the cookie
the attribute Secure and the prefix __Host-. Give API_KEY the brand below alone: two brands may have a username in
common."""
import json
import os
import re
import secrets
import sys
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote, urlsplit

try:
    PORT, TICKETD, API_KEY = (os.environ[name] for name in ("PORT", "TICKETD", "API_KEY"))
except KeyError:
    sys.exit("set PORT, TICKETD and API_KEY")
BRAND = "commbox"
sessions = {}


def log(text):
    print(text, file=sys.stderr, flush=True)


def redeem(ticket):
    """Spends a ticket. Only status 200 lets the person in; with 503 nobody can tell now. If an answer gets lost, redeem
    repeats the request with the same binding, and ticketd gives the same answer."""
    body = json.dumps({"ticket": ticket, "audience": "agent", "binding": secrets.token_hex(16)}).encode()
    headers = {"Authorization": "Bearer " + API_KEY, "Content-Type": "application/json"}
    request = urllib.request.Request(TICKETD + "/auth/redeem", body, headers)
    for attempt in range(3):
        try:
            with urllib.request.urlopen(request, timeout=3) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)
        except (OSError, ValueError) as error:
            if attempt == 2:
                log(error)
    return 503, {}


def ticket_of(query):
    """Returns the ticket of a query, or None, or "" for more tickets than one. Some clients encode it twice."""
    tickets = [value for name, value in parse_qsl(query, keep_blank_values=True) if name in ("ta", "TA")]
    if len(tickets) > 1:
        return ""
    return unquote(tickets[0]) if tickets else None


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        try:
            self.enter()
        except Exception as error:
            log(error)
            self.say(500, "Something went wrong on our side")

    do_HEAD = do_GET

    def enter(self):
        url = urlsplit(self.path)
        ticket = ticket_of(url.query)
        if ticket is None:
            found = re.search(r"(?:^|; )session=([0-9a-f]{64})(?:;|$)", self.headers.get("Cookie", ""))
            user = sessions.get(found and found[1])
            return self.say(200, "Signed in as " + user) if user else self.say(403, "Not signed in")
        # Prefetches and previews spend nothing.
        purpose = ",".join(self.headers.get(name, "") for name in ("Sec-Purpose", "Purpose", "X-Purpose", "X-Moz"))
        if self.command != "GET" or re.search("prefetch|prerender|preview", purpose, re.I):
            return self.say(503, "Open this link in a browser")
        status, answer = redeem(ticket) if ticket else (403, {})
        data = answer.get("data") or {}
        if status == 503:
            return self.say(503, "Cannot check your link now. Try again in a moment.")
        if status == 403:
            log(f"ticket {data.get('ticketId', '(not one of ours)')} refused: {data.get('reason', 'empty')}")
            return self.say(403, "This link does not work any more")
        if status != 200:
            raise RuntimeError(f"ticketd answers {status}: {answer.get('description')}")
        if data["ticket"]["brand"] != BRAND:
            raise RuntimeError("API_KEY is for other brands as well")
        session = secrets.token_hex(32)
        sessions[session] = data["agent"]["username"]
        self.start(303, [("Location", url.path), ("Set-Cookie", f"session={session}; Path=/; HttpOnly; SameSite=Lax")])

    def start(self, status, headers):
        self.send_response(status)
        for name, value in [("Cache-Control", "no-store"), ("Referrer-Policy", "no-referrer"), *headers]:
            self.send_header(name, value)
        self.end_headers()

    def say(self, status, text):
        self.start(status, [("Content-Type", "text/plain; charset=utf-8")])
        if self.command != "HEAD":
            self.wfile.write((text + "\n").encode())

    def log_message(self, *_):  # the request's line has the ticket
        pass


ThreadingHTTPServer(("127.0.0.1", int(PORT)), Handler).serve_forever()
