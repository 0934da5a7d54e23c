"""Receives events, verifies signatures and decodes, by the Python libraries. Usage: receive.py KEYFILE OUTPUT

Prints its port. Writes one JSON object a line: path, id and subject as decoded, sequence, whether the signature verified, body (base64).
"""

import base64
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock

from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from standardwebhooks.webhooks import Webhook

key_file, output = sys.argv[1:]
webhook = Webhook(open(key_file).read().strip())
received, lock = open(output, "w"), Lock()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        line = {"path": self.path, "error": None, "body": base64.b64encode(body).decode()}
        try:
            webhook.verify(body, headers)
            event = from_http_event(HTTPMessage(headers, body))
            line |= {"id": event.get_id(), "subject": event.get_subject(), "sequence": event.get_extension("sequence")}
        except Exception as error:
            line["error"] = f"{type(error).__name__}: {error}"
        with lock:
            print(json.dumps(line), file=received, flush=True)
        self.send_response(400 if line["error"] else 204)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
