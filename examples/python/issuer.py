"""A backend that knows its users. It asks ticketd for a ticket and sends the browser to the login service with the
ticket. Needs Python 3.8 or later, and no packages. Environment: PORT, TICKETD (its URL), API_KEY (scope issue),
LOGIN_URL."""
import json
import os
import sys
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

try:
    PORT, TICKETD, API_KEY, LOGIN_URL = (os.environ[name] for name in ("PORT", "TICKETD", "API_KEY", "LOGIN_URL"))
except KeyError:
    sys.exit("set PORT, TICKETD, API_KEY and LOGIN_URL")


def ticket_for(user):
    request = urllib.request.Request(
        TICKETD + "/auth/ticket",
        json.dumps({"data": {**user, "oneTimeUse": True}}).encode(),
        {"Authorization": "Bearer " + API_KEY, "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=3) as answer:
            return json.load(answer)["data"]["encpryptedString"]  # spelt so
    except urllib.error.HTTPError as error:
        raise OSError(f"{error.code}: {json.load(error)['description']}") from None


def user(request):
    """Take the person from your own session here."""
    return {"brand": "commbox", "username": "john.d", "email": "john.d@gmail.com"}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        try:
            ticket = ticket_for(user(self))
        except OSError as error:  # no ticket came, so none is logged
            print(error, file=sys.stderr, flush=True)
            self.send_response(502)
            self.send_header("Content-Type", "text/plain")
            self.end_headers()
            self.wfile.write(b"Cannot sign you in now. Try again later.\n")
            return
        self.send_response(303)
        self.send_header("Location", f"{LOGIN_URL}?ta={ticket}")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        self.end_headers()

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", int(PORT)), Handler).serve_forever()
