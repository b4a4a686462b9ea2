"""A camera that has Motion JPEG over HTTP, with the oddities of real ones for the asking.

    mjpeg.py PORT [OPTION...]

Serves every path with pictures that FFmpeg makes, or with the files of --pictures in turn, and says `ready PORT` on
standard output when it can be connected to (port 0: any that is free). Each request is a line on standard error.
"""

import argparse
import base64
import glob
import hashlib
import os
import socketserver
import subprocess
import sys
import tempfile
import time
from http.server import BaseHTTPRequestHandler

REALM = "camera"
BOUNDARY = "ringcaster"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("port", type=int)
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--pictures", metavar="FOLDER|PATTERN", help="JPEG files, sent in the order of their names")
    parser.add_argument("--size", default="320x240", help="of the pictures that are made (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=10.0, help="pictures a second (default: %(default)s)")
    parser.add_argument("--snapshot", action="store_true", help="one picture for each request, as image/jpeg")
    parser.add_argument("--boundary-dashes", action="store_true", help="count the dashes as part of the boundary")
    parser.add_argument("--boundary-quotes", action="store_true", help="put the boundary into quotes")
    parser.add_argument("--no-length", action="store_true", help="parts, or snapshots, without Content-Length")
    parser.add_argument("--wrong-length", action="store_true", help="parts with a Content-Length that is too large")
    parser.add_argument("--no-line-end", action="store_true", help="no line end behind a part")
    parser.add_argument("--bare-lf", action="store_true", help="lines of parts end with LF alone")
    parser.add_argument("--no-end-marker", action="store_true", help="pictures lack their last two bytes")
    parser.add_argument("--chunked", action="store_true", help="chunked transfer coding, HTTP/1.1")
    parser.add_argument("--close", action="store_true", help="close the connection behind each response")
    parser.add_argument("--user")
    parser.add_argument("--password", default="")
    parser.add_argument("--auth", choices=["basic", "digest", "digest-sha256"], default="basic")
    parser.add_argument("--redirect", action="store_true", help="lead from every path but /moved to that one")
    parser.add_argument("--status", type=int, help="refuse every request with that status")
    parser.add_argument("--stop-after", type=int, metavar="N", help="end a stream behind so many pictures")
    parser.add_argument("--stall-after", type=int, metavar="N", help="send nothing more behind so many pictures")
    return parser.parse_args()


def pictures(options):
    if options.pictures is None:
        with tempfile.TemporaryDirectory() as folder:
            source = f"testsrc2=size={options.size}:rate=10:duration=2"
            make = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", source, "-q:v", "5", "-pix_fmt", "yuvj420p"]
            # Baseline pictures with the tables of the standard, as RTP carries them.
            subprocess.run([*make, "-huffman", "default", f"{folder}/%03d.jpg"], check=True)
            return read(f"{folder}/*.jpg")
    is_folder = os.path.isdir(options.pictures)
    return read(f"{options.pictures}/*.jp*g" if is_folder else options.pictures)


def read(pattern):
    files = []
    for name in sorted(glob.glob(pattern)):
        with open(name, "rb") as file:
            files.append(file.read())
    if not files:
        sys.exit(f"mjpeg.py: no pictures in {pattern}")
    return files


class Camera(BaseHTTPRequestHandler):
    options = None
    files = []
    served = 0

    def setup(self):
        super().setup()
        self.protocol_version = "HTTP/1.0" if self.options.close else "HTTP/1.1"

    def do_GET(self):
        options = self.options
        if options.status is not None:
            self.answer(options.status, b"<html>no</html>")
        elif options.user is not None and not self.is_allowed():
            self.answer(401, b"<html>who are you?</html>", ("WWW-Authenticate", self.challenge()))
        elif options.redirect and self.path != "/moved":
            self.answer(302, b"<html>moved</html>", ("Location", "moved"))
        elif options.snapshot:
            self.send_snapshot()
        else:
            self.send_stream()

    def answer(self, status, body, *headers):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def send_snapshot(self):
        options = self.options
        # All connections share the turn.
        file = self.picture(Camera.served)
        Camera.served += 1
        self.send_response(200)
        self.send_header("Content-Type", "image/jpeg")
        if options.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        elif not options.no_length:
            self.send_header("Content-Length", str(len(file)))
        else:
            self.send_header("Connection", "close")
        self.end_headers()
        self.write(file)
        if options.chunked:
            self.wfile.write(b"0\r\n\r\n")
        if options.close or (options.no_length and not options.chunked):
            self.close_connection = True

    def send_stream(self):
        options = self.options
        boundary = f"--{BOUNDARY}" if options.boundary_dashes else BOUNDARY
        quoted = f'"{boundary}"' if options.boundary_quotes else boundary
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={quoted}")
        self.send_header("Cache-Control", "no-cache")
        self.send_header("Connection", "close")
        if options.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        line = "\n" if options.bare_lf else "\r\n"
        begun = time.monotonic()
        number = 0
        while number != options.stop_after:
            if number == options.stall_after:
                time.sleep(3600)
            file = self.picture(number)
            head = f"--{BOUNDARY}{line}Content-Type: image/jpeg{line}"
            if options.wrong_length:
                head += f"Content-Length: {len(file) + 1000}{line}"
            elif not options.no_length:
                head += f"Content-Length: {len(file)}{line}"
            end = "" if options.no_line_end else line
            self.write(f"{head}{line}".encode() + file + end.encode())
            number += 1
            time.sleep(max(0.0, begun + number / options.rate - time.monotonic()))
        self.write(f"--{BOUNDARY}--{line}".encode())
        if options.chunked:
            self.wfile.write(b"0\r\n\r\n")

    def picture(self, number):
        file = self.files[number % len(self.files)]
        return file[:-2] if self.options.no_end_marker else file

    def write(self, data):
        if self.options.chunked:
            data = f"{len(data):x}\r\n".encode() + data + b"\r\n"
        self.wfile.write(data)
        self.wfile.flush()

    def challenge(self):
        if self.options.auth == "basic":
            return f'Basic realm="{REALM}"'
        algorithm = "MD5" if self.options.auth == "digest" else "SHA-256"
        nonce = hashlib.md5(str(time.time()).encode()).hexdigest()
        return f'Digest realm="{REALM}", nonce="{nonce}", qop="auth", algorithm={algorithm}'

    def is_allowed(self):
        options = self.options
        scheme, _, value = self.headers.get("Authorization", "").partition(" ")
        if options.auth == "basic":
            expected = base64.b64encode(f"{options.user}:{options.password}".encode()).decode()
            return scheme == "Basic" and value == expected
        if scheme != "Digest":
            return False
        function = hashlib.md5 if options.auth == "digest" else hashlib.sha256

        def hashed(*parts):
            return function(":".join(parts).encode()).hexdigest()

        pairs = (pair.partition("=") for pair in value.split(","))
        given = {name.strip(): text.strip().strip('"') for name, _, text in pairs}
        nonces = [given.get(name, "") for name in ("nonce", "nc", "cnonce", "qop")]
        secret = hashed(options.user, REALM, options.password)
        expected = hashed(secret, *nonces, hashed("GET", self.path))
        return given.get("response") == expected and given.get("uri") == self.path

    def log_message(self, text, *values):
        sys.stderr.write(f"{text % values}\n")


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def handle_error(self, request, client_address):
        # Who has seen enough hangs up.
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def main():
    Camera.options = arguments()
    Camera.files = pictures(Camera.options)
    with Server((Camera.options.address, Camera.options.port), Camera) as server:
        print(f"ready {server.server_address[1]}", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            pass


main()
