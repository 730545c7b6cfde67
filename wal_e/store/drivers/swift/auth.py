"""
Which of keystoneauth1's plugins logs in: auth v1, Keystone v2.0 or v3, by password, application credential or token.

What swiftclient does with the original's variables is kept: tenant:user in one name, addresses without a version,
the domain `default` where none is named, a tenant in place of a project.
"""

from collections.abc import Callable
from typing import Any

from wal_e.errors import Misconfigured
from wal_e.store.drivers.swift.options import SwiftOptions

_LAST_OF_URL = {"v1": "1", "v1.0": "1", "v2": "2", "v2.0": "2", "v3": "3"}
_SAME_VERSION = {"1.0": "1", "v1": "1", "v1.0": "1", "2.0": "2", "v2": "2", "v2.0": "2", "3.0": "3", "v3": "3"}


def auth_version(options: SwiftOptions) -> str:
    """
    Return "1", "2" or "3": what is set, else what the URL ends in, else 3 where something only v3 knows is set, else 2.

    The last is the original's default. Raises `Misconfigured` for another version, or one that the URL contradicts.
    """
    last = _LAST_OF_URL.get(options.auth_url.rstrip("/").rsplit("/", 1)[-1].lower())
    if not options.auth_version:
        only_v3 = (
            options.application_credential_id,
            options.project_name,
            options.project_id,
            options.user_domain_name,
            options.user_domain_id,
        )
        return last or ("3" if any(only_v3) else "2")
    version = _SAME_VERSION.get(options.auth_version, options.auth_version)
    if version not in {"1", "2", "3"}:
        raise Misconfigured(
            f'there is no auth version "{options.auth_version}"', hint="Set SWIFT_AUTH_VERSION to 1, 2 or 3."
        )
    if last is not None and last != version:
        raise Misconfigured(
            f"auth version {version} does not fit the address {options.auth_url}",
            hint=f"Set SWIFT_AUTH_VERSION={last}, or take the version off SWIFT_AUTHURL.",
        )
    return version


def choose_plugin(options: SwiftOptions) -> Callable[[], Any]:
    """
    Return what makes the plugin of keystoneauth1; imports nothing heavy before it is called.

    Raises `Misconfigured` where something is missing.
    """
    version = auth_version(options)
    if version == "1":
        return _v1(options)
    if not options.tenant and not options.auth_token and ":" in options.user:
        tenant, _, user = options.user.partition(":")
        options = options.but(tenant=tenant, user=user)
    if _LAST_OF_URL.get(options.auth_url.rstrip("/").rsplit("/", 1)[-1].lower()) is None:
        options = options.but(auth_url=f"{options.auth_url.rstrip('/')}/{'v3' if version == '3' else 'v2.0'}")
    return _v3(options) if version == "3" else _v2(options)


def _v1(options: SwiftOptions) -> Callable[[], Any]:
    _need_password(options)

    def make() -> Any:
        from swiftclient.authv1 import PasswordPlugin  # noqa: PLC0415 - costs 200 ms, and only Swift needs it

        return PasswordPlugin(options.auth_url, options.user, options.password)

    return make


def _v2(options: SwiftOptions) -> Callable[[], Any]:
    if not (options.tenant or options.tenant_id):
        raise Misconfigured(
            "No tenant specified", hint="Set SWIFT_TENANT (or OS_TENANT_NAME), or SWIFT_USER to tenant:user."
        )
    scope: dict[str, Any] = {"tenant_name": options.tenant or None, "tenant_id": options.tenant_id or None}

    def make() -> Any:
        from keystoneauth1.identity import v2  # noqa: PLC0415 - as above

        if options.auth_token:
            return v2.Token(options.auth_url, options.auth_token, **scope)
        return v2.Password(options.auth_url, options.user, options.password, **scope)

    if not options.auth_token:
        _need_password(options)
    return make


def _v3(options: SwiftOptions) -> Callable[[], Any]:
    if options.application_credential_id:
        return _v3_application_credential(options)
    project_id = options.project_id or options.tenant_id or None
    project_name = options.project_name or options.tenant or None
    if not (project_id or project_name):
        raise Misconfigured(
            "No project name or project id specified.",
            hint="Set SWIFT_PROJECT_NAME (or OS_PROJECT_NAME) or SWIFT_PROJECT_ID.",
        )
    scope: dict[str, Any] = {"project_id": project_id, "project_name": project_name}
    scope |= _domain("project_domain", options.project_domain_id, options.project_domain_name, by_id=project_id)
    who: dict[str, Any] = {"username": options.user or None, "user_id": options.user_id or None}
    who |= _domain("user_domain", options.user_domain_id, options.user_domain_name, by_id=options.user_id)

    def make() -> Any:
        from keystoneauth1.identity import v3  # noqa: PLC0415 - as above

        if options.auth_token:
            return v3.Token(options.auth_url, options.auth_token, **scope)
        return v3.Password(options.auth_url, options.password, **who, **scope)

    if not options.auth_token:
        _need_password(options)
    return make


def _v3_application_credential(options: SwiftOptions) -> Callable[[], Any]:
    if not options.application_credential_secret:
        raise Misconfigured("the application credential has no secret", hint="Set SWIFT_APPLICATION_CREDENTIAL_SECRET.")

    def make() -> Any:
        from keystoneauth1.identity import v3  # noqa: PLC0415 - as above

        return v3.ApplicationCredential(
            options.auth_url,
            application_credential_id=options.application_credential_id,
            application_credential_secret=options.application_credential_secret,
        )

    return make


def _domain(which: str, domain_id: str, name: str, *, by_id: str | None) -> dict[str, str | None]:
    if not domain_id and not name and not by_id:
        domain_id = "default"
    return {f"{which}_id": domain_id or None, f"{which}_name": name or None}


def _need_password(options: SwiftOptions) -> None:
    if not (options.user or options.user_id):
        raise Misconfigured("no user is set for Swift", hint="Set SWIFT_USER (or OS_USERNAME).")
    if not options.password:
        raise Misconfigured("no password is set for Swift", hint="Set SWIFT_PASSWORD (or OS_PASSWORD).")
