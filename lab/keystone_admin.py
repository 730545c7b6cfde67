"""What the lab does through Keystone's own API: log in, and fill a fresh Keystone with users, regions and endpoints."""

import json
import urllib.error
from typing import Any

from lab.place import LabError
from lab.swift import request

DOMAIN = {"id": "default"}
ADMIN_PASSWORD = "adminpw"
ROLES = ("member", "reader", "service")


class Admin:
    """A session with the identity API v3."""

    def __init__(self, url: str, user: str = "admin", password: str = ADMIN_PASSWORD, project: str = "admin") -> None:
        self.url = url
        self.token = ""
        who = {"name": user, "domain": DOMAIN, "password": password}
        identity = {"methods": ["password"], "password": {"user": who}}
        scope = {"project": {"name": project, "domain": DOMAIN}}
        document = {"auth": {"identity": identity, "scope": scope}}
        headers = {"Content-Type": "application/json"}
        try:
            with request("POST", f"{url}/v3/auth/tokens", headers, json.dumps(document).encode()) as answer:
                self.token = answer.headers["X-Subject-Token"]
                self.facts = json.load(answer)["token"]
        except urllib.error.HTTPError as error:
            with error:
                raise LabError(f"Keystone refused {user}: {error.read()[:500]!r}") from None

    def call(self, method: str, path: str, document: object = None) -> Any:
        """Call the API and return the parsed answer, None where it is empty; LabError where it refuses."""
        headers = {"Content-Type": "application/json", "X-Auth-Token": self.token}
        body = json.dumps(document).encode() if document is not None else None
        try:
            with request(method, self.url + path, headers, body) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            with error:
                raise LabError(f"{method} {path}: {error.code} {error.read()[:500]!r}") from None
        return json.loads(text) if text else None

    def ids(self, kind: str, filters: str = "") -> dict[str, str]:
        """Return name (or id) to id of all things of a kind (`users`)."""
        return {thing.get("name", thing["id"]): thing["id"] for thing in self.call("GET", f"/v3/{kind}{filters}")[kind]}

    def make(self, kind: str, **fields: object) -> Any:
        """Create a thing of a kind (`user`) and return it."""
        return self.call("POST", f"/v3/{kind}s", {kind: fields})[kind]

    def revoke(self, token: str) -> None:
        """Make a token invalid."""
        headers = {"X-Auth-Token": self.token, "X-Subject-Token": token}
        request("DELETE", f"{self.url}/v3/auth/tokens", headers).close()

    def storage_url(self, region: str) -> str:
        """Return the public object-store address of a region from this session's catalog."""
        for service in self.facts["catalog"]:
            for endpoint in service["endpoints"] if service["type"] == "object-store" else ():
                if (endpoint["region"], endpoint["interface"]) == (region, "public"):
                    return str(endpoint["url"])
        raise LabError(f"the catalog has no object store in region {region}")


def fill(admin: Admin) -> str:
    """Make roles, the service user of Swift, the users demo and reader, and the service; return the service's id."""
    roles = admin.ids("roles")
    for name in ROLES:
        if name not in roles:
            roles[name] = admin.make("role", name=name)["id"]
    projects = admin.ids("projects", "?domain_id=default")
    for name in ("service", "demo"):
        if name not in projects:
            projects[name] = admin.make("project", name=name, domain_id="default")["id"]
    people = (
        ("swift", "service", ("admin", "service")),
        ("demo", "demo", ("member",)),
        ("reader", "demo", ("reader",)),
    )
    for name, project, granted in people:
        user = admin.make("user", name=name, domain_id="default", password=f"{name}pw")["id"]
        for role in granted:
            admin.call("PUT", f"/v3/projects/{projects[project]}/users/{user}/roles/{roles[role]}")
    return str(admin.make("service", type="object-store", name="swift")["id"])


def publish_identity(admin: Admin, url: str) -> None:
    """Put Keystone's own address into its catalog, where Swift looks for it to check tokens."""
    service = admin.make("service", type="identity", name="keystone")["id"]
    for interface in ("public", "internal", "admin"):
        admin.make("endpoint", interface=interface, service_id=service, url=f"{url}/v3")


def add_region(admin: Admin, service: str, region: str, swift_url: str) -> None:
    """Put an object store into the catalog under a region's name, at its public, internal and admin addresses."""
    if region not in admin.ids("regions"):
        admin.make("region", id=region)
    for interface in ("public", "internal", "admin"):
        path = "/v1" if interface == "admin" else "/v1/AUTH_%(project_id)s"
        admin.make("endpoint", interface=interface, region_id=region, service_id=service, url=swift_url + path)
