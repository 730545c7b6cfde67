"""
AWS's own files, `~/.aws/credentials` and `~/.aws/config`: what the profile in use says of what is not set here.

Who shall sign is one setting: where a key, a role or the instance's profile is set here, nothing of that is taken from
the files. Where the service is known as well, as the original wanted it, files that nobody has named are not looked at:
they may be of another program's account, or broken. Profiles that ask for a login which we do not do are refused, so
that nobody else signs in their place.
"""

import configparser
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wal_e.config import AnyOption, Option, Origin, Settings, Source
from wal_e.errors import Misconfigured
from wal_e.store.drivers.s3.options import (
    ACCESS_KEY_ID,
    CA_BUNDLE,
    CONFIG_FILE,
    CREDENTIALS_FILE,
    ENDPOINT,
    INSTANCE_PROFILE,
    PROCESS,
    PROFILE,
    REGION,
    ROLE,
    SECRET_KEY,
    SESSION_NAME,
    SESSION_TOKEN,
    STS_ENDPOINT,
    TOKEN_FILE,
)

DEFAULT: Final = "default"
_PLACE: Final[Mapping[str, AnyOption]] = {"region": REGION, "endpoint_url": ENDPOINT, "ca_bundle": CA_BUNDLE}
_KEYS: Final[Mapping[str, AnyOption]] = {
    "aws_access_key_id": ACCESS_KEY_ID,
    "aws_secret_access_key": SECRET_KEY,
    "aws_session_token": SESSION_TOKEN,
}
_ROLE: Final[Mapping[str, AnyOption]] = {
    "role_arn": ROLE,
    "web_identity_token_file": TOKEN_FILE,
    "role_session_name": SESSION_NAME,
}
_PROCESS: Final[Mapping[str, AnyOption]] = {"credential_process": PROCESS}
_SIGNERS: Final = (ACCESS_KEY_ID, SECRET_KEY, INSTANCE_PROFILE, PROCESS)
_NAMES: Final = (PROFILE, CREDENTIALS_FILE, CONFIG_FILE)
_ELSEWHERE: Final = ("source_profile", "credential_source", "sso_session", "sso_start_url", "sso_account_id")

Said = dict[str, tuple[str, Path]]
"""What a profile says, by key, and the file that says it."""


@dataclass(frozen=True, slots=True)
class _File:
    """One of the two files; `optional` says that nobody has named it."""

    path: Path
    option: Option[str]
    optional: bool


def complete(settings: Settings) -> Settings:
    """
    Return the settings with what AWS's own files say of what is not set.

    Raises `Misconfigured` where a file is none of AWS's or cannot be read, where the profile that was asked for is not
    there, and where it asks for a login that we do not do.
    """
    named, signed = any(settings[option] for option in _NAMES), _has_signer(settings)
    if signed and not named and _has_place(settings):
        return settings
    said = read_profile(settings)
    wanted = dict(_PLACE)
    if not signed:
        wanted |= _login(said, settings[PROFILE] or DEFAULT)
    return settings.filled(
        {
            option.name: (said[key][0], _source(key, settings[PROFILE] or DEFAULT, said[key][1]))
            for key, option in wanted.items()
            if key in said
        }
    )


def read_profile(settings: Settings) -> Said:
    """Return what the profile in use says, empty where there is none; raises `Misconfigured` as `complete` does."""
    name = settings[PROFILE] or DEFAULT
    files = [_file(settings, CONFIG_FILE, "config"), _file(settings, CREDENTIALS_FILE, "credentials")]
    config, credentials = (_sections(file) for file in files)
    # AWS's tools give "[profile default]" the precedence over "[default]", and know no other name without the word.
    plain = config.get(DEFAULT) if name == DEFAULT else None
    places = [(plain, files[0]), (config.get(f"profile {name}"), files[0]), (credentials.get(name), files[1])]
    found = [(section, file) for section, file in places if section is not None]
    if settings[PROFILE] and not found:
        raise _absent(name, settings, files)
    said = {key: (text, file.path) for section, file in found for key, text in section.items() if text}
    service = _service(config.get(f"services {said['services'][0]}", {})) if "services" in said else ""
    return said | ({"endpoint_url": (service, files[0].path)} if service else {})


def _has_signer(settings: Settings) -> bool:
    return _has_web_identity(settings) or any(settings[option] for option in _SIGNERS)


def _has_web_identity(settings: Settings) -> bool:
    return bool(settings[ROLE] and settings[TOKEN_FILE])


def _has_place(settings: Settings) -> bool:
    """Whether it is set whom to ask: for the bucket, and for a web identity's keys, which a region tells, too."""
    known = bool(settings[REGION])
    return known or (settings.is_set(ENDPOINT) and (settings.is_set(STS_ENDPOINT) or not _has_web_identity(settings)))


def _login(said: Said, name: str) -> Mapping[str, AnyOption]:
    """Return the keys of the login that the profile asks for, by the order of AWS's tools."""
    for key in _ELSEWHERE:
        if key in said:
            raise _not_done(name, key, said[key][1])
    if "role_arn" in said:
        if "web_identity_token_file" not in said:
            raise _not_done(name, "role_arn", said["role_arn"][1])
        return _ROLE
    return _KEYS if "aws_access_key_id" in said or "aws_secret_access_key" in said else _PROCESS


def _service(section: Mapping[str, str]) -> str:
    """Return the endpoint that a section of services gives for S3: `s3 =`, and below it lines that are moved in."""
    lines = (line.partition("=") for line in section.get("s3", "").splitlines())
    return next((value.strip() for key, _, value in lines if key.strip() == "endpoint_url"), "")


def _file(settings: Settings, option: Option[str], name: str) -> _File:
    named = settings[option]
    return _File(Path(named or f"~/.aws/{name}"), option, optional=not named)


def _sections(file: _File) -> dict[str, dict[str, str]]:
    """Return a file's sections; a file that nobody named may be absent, or another user's."""
    parser = configparser.RawConfigParser(default_section="")
    try:
        parser.read_string(file.path.expanduser().read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except configparser.Error as error:
        raise _unusable(file, f"It is not understood{_line(error)}.") from None  # its text quotes the line
    except (OSError, RuntimeError, ValueError) as error:
        if file.optional and isinstance(error, PermissionError | RuntimeError):
            return {}
        raise _unusable(file, f"{getattr(error, 'strerror', None) or 'It is not text in UTF-8'}.") from error
    return {" ".join(name.replace('"', "").split()): dict(parser.items(name)) for name in parser.sections()}


def _line(error: configparser.Error) -> str:
    numbers = [number for number, _ in getattr(error, "errors", ())] or [getattr(error, "lineno", None)]
    return f" at line {numbers[0]}" if numbers[0] else ""


def _source(key: str, name: str, path: Path) -> Source:
    return Source(Origin.PROFILE, f'{key} of the profile "{name}" in "{path}"')


def _unusable(file: _File, detail: str) -> Misconfigured:
    hint = (
        f"Check it and its permissions for the user that runs wal-e, or name another with {file.option.variables[0]}."
    )
    return Misconfigured(f'the file "{file.path}" of AWS\'s tools cannot be used', detail=detail, hint=hint)


def _absent(name: str, settings: Settings, files: list[_File]) -> Misconfigured:
    places = " and ".join(f'"{file.path}"{_access(file)}' for file in files)
    return Misconfigured(
        f'there is no profile "{name}" in the files of AWS\'s tools',
        detail=f"{settings.source(PROFILE)} asks for it; looked into {places}, where ~ is {home()}.",
        hint="Check the name and the home; AWS_SHARED_CREDENTIALS_FILE and AWS_CONFIG_FILE name other files.",
    )


def _access(file: _File) -> str:
    """Say of a file of another user's that it is one."""
    try:
        file.path.expanduser().stat()
    except PermissionError:
        return ", which cannot be read"
    except (OSError, RuntimeError):
        return ""
    return "" if os.access(file.path.expanduser(), os.R_OK) else ", which cannot be read"


def home() -> str:
    """Return the directory that ~ means for the user that runs this."""
    try:
        return str(Path.home())
    except RuntimeError:
        return "unknown"


def _not_done(name: str, key: str, path: Path) -> Misconfigured:
    return Misconfigured(
        f'the profile "{name}" asks for a login that is not done here',
        detail=f'"{key}" in "{path}" needs AWS\'s own tools.',
        hint="Let them log in: make another profile, name it with AWS_PROFILE, and give it the line "
        f'"credential_process = aws configure export-credentials --profile {name} --format process".',
    )
