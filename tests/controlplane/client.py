"""Ask the API server over HTTPS with the standard library alone."""

from __future__ import annotations

import http.client
import json
import ssl
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controlplane.errors import ApiError

JSON = "application/json"
SECONDS = 30.0
FIRST_ERROR = 400


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the HTTP status and the body."""

    status: int
    text: str


@dataclass(frozen=True, slots=True)
class Client:
    """One identity that talks to one API server; a new connection for each request, so that restarts do not matter."""

    url: str
    ca_file: Path
    token: str

    def fetch(self, method: str, path: str, body: str | None = None, content_type: str = JSON) -> Answer:
        """Send one request and return the answer, whatever its status; the body of a watch is read to its end."""
        address = urllib.parse.urlsplit(self.url)
        context = ssl.create_default_context(cafile=str(self.ca_file))
        connection = http.client.HTTPSConnection(address.hostname or "", address.port, context=context, timeout=SECONDS)
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": content_type}
        try:
            connection.request(method, path, body=None if body is None else body.encode(), headers=headers)
            response = connection.getresponse()
            return Answer(response.status, response.read().decode())
        finally:
            connection.close()

    def request(self, method: str, path: str, body: Any = None, content_type: str = JSON) -> Any:
        """
        Send a request and return what the JSON of the answer holds.

        `body` is sent as JSON; text is sent as it is.
        Errors: `ApiError` for a status of 400 and more.
        """
        text = body if body is None or isinstance(body, str) else json.dumps(body)
        answer = self.fetch(method, path, text, content_type)
        if answer.status >= FIRST_ERROR:
            raise ApiError(method, path, answer.status, answer.text)
        return json.loads(answer.text)
