"""A web service on Python's own server: answers 403 to who wants to publish a name with "secret" in it, else 200. Says "ready PORT", then a
line for each call: its method and the arguments call and name."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class Handler(BaseHTTPRequestHandler):
    def answer(self, text):
        # Strict: a field that cannot be read, or stands there twice, is an error.
        fields = parse_qs(text, keep_blank_values=True, strict_parsing=True, errors="strict")
        values = {name: value for name, [value] in fields.items()}
        is_refused = values["call"] == "publish" and "secret" in values["name"]
        self.send_response(403 if is_refused else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()
        print(self.command, values["call"], values["name"], flush=True)

    def do_GET(self):
        self.answer(urlsplit(self.path).query)

    def do_POST(self):
        assert self.headers["Content-Type"] == "application/x-www-form-urlencoded"
        self.answer(self.rfile.read(int(self.headers["Content-Length"])).decode())

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print("ready", server.server_address[1], flush=True)
server.serve_forever()
