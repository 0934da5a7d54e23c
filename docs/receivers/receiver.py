"""A receiver for Posthorn: Python 3.9 or newer, the standard library only."""
import base64, hashlib, hmac, json, logging, os, sqlite3, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

KEYS = [base64.b64decode(key.removeprefix("whsec_")) for key in os.environ["WEBHOOK_SECRETS"].split()]
LARGEST = 16 * 1024 * 1024
logging.basicConfig(level=logging.INFO, format="%(message)s")
lock = threading.Lock()
database = sqlite3.connect(os.environ.get("DATABASE", "receiver.db"), check_same_thread=False)
database.execute("CREATE TABLE IF NOT EXISTS highest (lane TEXT PRIMARY KEY, sequence TEXT NOT NULL)")
database.execute("CREATE TABLE IF NOT EXISTS orders (sequence TEXT, event TEXT)")
database.commit()


class Refused(Exception):
    """This event will never be taken."""


def is_signed(headers, body):
    """Whether one of the signatures was made with one of our keys, in the last five minutes."""
    message_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not timestamp.isdecimal() or abs(time.time() - int(timestamp)) > 300:
        return False
    signed = f"{message_id}.{timestamp}.".encode() + body
    made = ["v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode() for key in KEYS]
    given = headers.get("webhook-signature", "").split()
    return any(hmac.compare_digest(ours.encode(), theirs.encode()) for ours in made for theirs in given)


def events(headers, body):
    """The events of a request, each a dict of its attributes and its data."""
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "application/cloudevents-batch+json":
        return json.loads(body)
    if media_type == "application/cloudevents+json":
        return [json.loads(body)]
    attributes = {name.lower()[3:]: unquote(value) for name, value in headers.items() if name.lower().startswith("ce-")}
    data = {"data": json.loads(body)} if media_type == "application/json" else {"data_base64": base64.b64encode(body).decode()}
    return [{**attributes, **data}]


def take(event):
    """The work: here it keeps orders."""
    if not event["type"].startswith("com.example."):
        raise Refused(f"no use for events of type {event['type']}")
    database.execute("INSERT INTO orders VALUES (?, ?)", (event["sequence"], json.dumps(event)))


def accept(lane, new):
    """Takes what was not taken before. The work and the highest sequence are stored in one transaction: both or neither."""
    with lock:
        with database:
            row = database.execute("SELECT sequence FROM highest WHERE lane = ?", (lane,)).fetchone()
            before = highest = row[0] if row else ""
            for event in new:
                if event["sequence"] > highest:
                    take(event)
                    highest = event["sequence"]
            database.execute("INSERT OR REPLACE INTO highest VALUES (?, ?)", (lane, highest))
        for event in new:
            word = "accepted" if event["sequence"] > before else "repeat"
            logging.info("%s %s %s %s", word, lane, event["sequence"], event["id"])


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps connections

    def do_POST(self):
        length = int(self.headers.get("content-length", 0))
        if length > LARGEST:
            self.close_connection = True
            return self.answer(413)
        body = self.rfile.read(length)
        if not is_signed(self.headers, body):
            return self.answer(401)  # halts the destination; its backlog is kept
        try:
            # each destination has a path of its own; with PerKey, add the key to the lane
            accept(self.path, events(self.headers, body))
        except Refused as reason:
            logging.info("refused %s %s", self.path, reason)
            return self.answer(422, {"posthorn-directive": "bury"})  # given up at once
        except Exception:
            logging.exception("failed %s", self.path)
            return self.answer(500)  # tried again, with growing waits
        self.answer(204)  # delivered: it is stored here

    def answer(self, status, headers={}):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", 8000))), Handler)
    server.daemon_threads = True
    logging.info("listening on http://127.0.0.1:%d", server.server_port)
    server.serve_forever()
