"""
Identity API v2.0 in front of a Keystone that speaks v3 only: `python -m lab.identity_v2 PORT KEYSTONE_URL`.

Keystone dropped v2.0 in 2018, and clouds that still offer it answer like this. Tokens are real v3 tokens, so the real
Swift takes them. Understands password credentials with a tenant's name or id, and Rackspace's API keys.
"""

import json
import sys
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

RACKSPACE = "RAX-KSKEY:apiKeyCredentials"


class Refused(Exception):
    """An answer other than 200, with its status and text."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Keystone:
    """The v3 service behind."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def log_in(self, user: str, password: str, scope: dict[str, Any] | None) -> tuple[str, dict[str, Any]]:
        """Return (token, the token's document); raises Refused as Keystone did."""
        who = {"name": user, "domain": {"id": "default"}, "password": password}
        auth: dict[str, Any] = {"identity": {"methods": ["password"], "password": {"user": who}}}
        if scope:
            auth["scope"] = {"project": scope}
        token, document = self._call("POST", "/v3/auth/tokens", {"auth": auth})
        return token, document["token"]

    def first_project(self, token: str) -> dict[str, Any]:
        """Return the scope of the first project that the token's user may use."""
        _, document = self._call("GET", "/v3/auth/projects", None, token)
        return {"id": document["projects"][0]["id"]}

    def _call(self, method: str, path: str, body: object, token: str = "") -> tuple[str, Any]:
        headers = {"Content-Type": "application/json", "X-Auth-Token": token}
        data = json.dumps(body).encode() if body else None
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
                return answer.headers.get("X-Subject-Token", ""), json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                raise Refused(error.code, json.load(error)["error"]["message"]) from None
        except OSError as error:
            raise Refused(503, str(error)) from None


def answer_login(keystone: Keystone, document: Any) -> dict[str, Any]:
    """Return the v2.0 answer to a v2.0 login document; raises Refused."""
    try:
        auth = document["auth"]
        rackspace = RACKSPACE in auth
        credentials = auth[RACKSPACE] if rackspace else auth["passwordCredentials"]
        user, password = credentials["username"], credentials["apiKey" if rackspace else "password"]
    except (KeyError, TypeError):
        raise Refused(400, "Expecting to find valid JSON with auth credentials.") from None
    scope = _scope(auth)
    token, facts = keystone.log_in(user, password, scope)
    if rackspace and scope is None:
        token, facts = keystone.log_in(user, password, keystone.first_project(token))
    return {"access": _access(token, facts, rackspace=rackspace)}


def _scope(auth: dict[str, Any]) -> dict[str, Any] | None:
    if auth.get("tenantId"):
        return {"id": auth["tenantId"]}
    if auth.get("tenantName"):
        return {"name": auth["tenantName"], "domain": {"id": "default"}}
    return None


def _access(token: str, facts: dict[str, Any], *, rackspace: bool) -> dict[str, Any]:
    project = facts.get("project")
    roles = facts.get("roles", [])
    head: dict[str, Any] = {"id": token, "expires": facts["expires_at"], "issued_at": facts["issued_at"]}
    user: dict[str, Any] = {
        "id": facts["user"]["id"],
        "name": facts["user"]["name"],
        "username": facts["user"]["name"],
        "roles": [{"name": role["name"]} for role in roles],
        "roles_links": [],
    }
    services = [_service(entry, project, rackspace=rackspace) for entry in facts.get("catalog", [])]
    if project:
        head["tenant"] = {"id": project["id"], "name": project["name"], "enabled": True, "description": ""}
    if rackspace:
        head["RAX-AUTH:authenticatedBy"] = ["APIKEY"]
        stores = [service for service in services if service["type"] == "object-store"]
        user["RAX-AUTH:defaultRegion"] = stores[0]["endpoints"][0]["region"] if stores else ""
    metadata = {"is_admin": 0, "roles": [role["id"] for role in roles]}
    return {"token": head, "user": user, "serviceCatalog": services, "metadata": metadata}


def _service(entry: dict[str, Any], project: dict[str, Any] | None, *, rackspace: bool) -> dict[str, Any]:
    regions: dict[str, dict[str, Any]] = {}
    for endpoint in entry["endpoints"]:
        region = regions.setdefault(endpoint["region"], {"region": endpoint["region"], "id": endpoint["id"]})
        region[f"{endpoint['interface']}URL"] = endpoint["url"]
        if rackspace and project:
            region["tenantId"] = project["id"]
    name = "cloudFiles" if rackspace and entry["type"] == "object-store" else entry["name"]
    return {"name": name, "type": entry["type"], "endpoints_links": [], "endpoints": list(regions.values())}


class Handler(BaseHTTPRequestHandler):
    """The HTTP face: one login path and a version document."""

    protocol_version = "HTTP/1.1"
    keystone: Keystone

    def do_GET(self) -> None:
        """Answer version discovery."""
        if self.path.rstrip("/") not in {"", "/v2.0"}:
            self._refuse(Refused(404, "The resource could not be found."))
            return
        links = [{"rel": "self", "href": f"http://{self.headers['Host']}/v2.0/"}]
        self._send(200, {"version": {"id": "v2.0", "status": "deprecated", "links": links}})

    def do_POST(self) -> None:
        """Answer a login."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.rstrip("/") != "/v2.0/tokens":
            self._refuse(Refused(404, "The resource could not be found."))
            return
        try:
            self._send(200, answer_login(self.keystone, json.loads(body)))
        except ValueError:
            self._refuse(Refused(400, "Expecting to find valid JSON with auth credentials."))
        except Refused as refused:
            self._refuse(refused)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the name that http.server gives it
        """Say nothing: tests look at answers."""

    def _refuse(self, refused: Refused) -> None:
        title = self.responses[refused.status][0]
        self._send(refused.status, {"error": {"code": refused.status, "title": title, "message": str(refused)}})

    def _send(self, status: int, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        if status == 401:
            self.send_header("WWW-Authenticate", f'Keystone uri="{self.keystone.url}"')
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main(arguments: list[str]) -> None:
    """Serve until a signal ends the process."""
    Handler.keystone = Keystone(arguments[1])
    ThreadingHTTPServer(("127.0.0.1", int(arguments[0])), Handler).serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
