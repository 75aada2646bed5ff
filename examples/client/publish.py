"""Publishes to a relay with Python's standard library: python3 publish.py TOPIC JSON [KEY].

A message that got no answer may or may not be published. Repeated with the same key, it is published once. The environment
variable `RELAY` has the URL of the relay, `TOKEN` the token."""

import http.client
import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid


# Mistakes of the caller: sending the request again would fail again.
MISTAKES = (http.client.InvalidURL, UnicodeEncodeError)
# There was no answer, or it was cut off or is not HTTP.
NO_ANSWER = (OSError, http.client.HTTPException, json.JSONDecodeError, UnicodeDecodeError)


class Refused(Exception):
    """Relay refuses the message: `problem` has `type`, `detail` and perhaps `errors`."""

    def __init__(self, problem):
        super().__init__(problem["detail"])
        self.problem = problem


def publish(topic, data, *, token, key=None, base="http://127.0.0.1:8000", attempts=5):
    """Publishes `data` and returns the id of the message."""
    request = urllib.request.Request(
        f"{base}/publish/{urllib.parse.quote(topic, safe='')}", method="POST", data=json.dumps(data).encode(),
        headers={"Content-Type": "application/json", "Authorization": f"Bearer {token}",
                 "Idempotency-Key": json.dumps(key or str(uuid.uuid4()))})
    for attempt in range(attempts):
        wait = 0.5 * 2 ** attempt
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.load(answer)["id"]
        except urllib.error.HTTPError as error:
            problem = problem_of(error)
            # The answer of a proxy that cannot reach Relay has no `type`: Relay has not answered, so try again.
            wait = problem.get("retry_after", None if error.code < 500 or "type" in problem else wait)
            if wait is None or attempt == attempts - 1:
                raise Refused(problem) from None
        except MISTAKES:
            raise
        except NO_ANSWER:
            if attempt == attempts - 1:
                raise
        time.sleep(wait)


def problem_of(error):
    """What Relay says about a refusal. If the answer is not from Relay, only the status."""
    try:
        if error.headers.get_content_type() == "application/problem+json":
            return json.load(error)
    except NO_ANSWER:
        pass
    return {"detail": f"{error.code} {error.reason}"}


if __name__ == "__main__":
    topic, text, *key = sys.argv[1:]
    data = json.loads(text)
    base = os.environ.get("RELAY", "http://127.0.0.1:8000")
    try:
        print(publish(topic, data, token=os.environ["TOKEN"], key=key[0] if key else None, base=base))
    except Refused as refused:
        sys.exit(f"refused: {refused}")
    except MISTAKES as error:
        sys.exit(f"not sent: {error}")
    except NO_ANSWER as error:
        sys.exit(f"no answer: {error}")
    except ValueError as error:
        sys.exit(f"not sent: {error}")
