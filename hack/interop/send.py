"""Sends every sample in both modes by the Python SDK. Usage: send.py SAMPLES URL OUTPUT

Writes one JSON object a line: id, mode, and the body as it was sent (base64).
"""

import base64
import json
import sys

import requests
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent

samples, url, output = sys.argv[1:]
session = requests.Session()
count = 0
with open(samples) as file, open(output, "w") as sent:
    for hook in json.load(file):
        for payload in hook["examples"]:
            for mode, encode in (("binary", to_binary_event), ("structured", to_structured_event)):
                count += 1
                attributes = {
                    "id": f"python-{count}",
                    "source": "https://github.com/" + payload.get("repository", {}).get("full_name", "octokit"),
                    "type": "com.github." + hook["name"],
                    "datacontenttype": "application/json",
                    "subject": f"größe {count} % “{payload.get('action', '')}”",
                }
                message = encode(CloudEvent(attributes, payload))
                answer = session.post(url, data=message.body, headers=message.headers)
                if answer.status_code != 202:
                    sys.exit(f"{attributes['id']}: {answer.status_code} {answer.text}")
                line = {"id": attributes["id"], "mode": mode, "subject": attributes["subject"]}
                line |= {"sequence": answer.json()["sequence"], "body": base64.b64encode(message.body).decode()}
                print(json.dumps(line), file=sent)
print(f"python: {count} events accepted")
