"""The least rights that an archive's user needs, in the words of each service. Pure: nobody is asked."""

import json
from collections.abc import Callable
from shlex import quote
from typing import Final

from wal_e.config import Settings
from wal_e.errors import UsageError
from wal_e.store.drivers.swift.options import SwiftOptions
from wal_e.store.url import ArchiveUrl


def least_rights(url: ArchiveUrl, settings: Settings) -> str:
    """
    Return commands or a document that an administrator can use; words in capitals stand for what is not known here.

    What they allow: list, read, add and delete below the archive's path, as far as the service can tell paths apart.
    Raises `UsageError` for a store without such rights.
    """
    write = _WRITERS.get(url.scheme)
    if write is None:
        raise UsageError(f'nothing is known about rights in "{url}"')
    return write(url, settings)


def _swift(url: ArchiveUrl, settings: Settings) -> str:
    options = SwiftOptions.of(settings)
    tenant, _, user = options.user.rpartition(":")
    project = options.project_id or options.tenant_id or options.project_name or options.tenant or tenant
    who = quote(f"{project or 'PROJECT'}:{options.user_id or user or 'USER'}")
    container = quote(url.container)
    return (
        "# For a user without a role that may write. Access lists are for whole containers; with the read list alone,\n"
        "# a user can restore. Names in the lists work in the domain Default only, ids everywhere:\n"
        "# openstack token issue -f value -c project_id -c user_id\n"
        f"swift post {container}\n"
        f"swift post --read-acl {who} --write-acl {who} {container}\n"
    )


def _folder(url: ArchiveUrl, _settings: Settings) -> str:
    return (
        "# The user that runs PostgreSQL owns the folder, and nobody else needs to read it.\n"
        f"install -d -m 700 -o postgres -g postgres {quote(url.path)}\n"
    )


def _s3(url: ArchiveUrl, _settings: Settings) -> str:
    """Return a policy; without a path nothing is said about prefixes, for a request without one would not fit."""
    bucket = f"arn:aws:s3:::{url.container}"
    objects = f"{bucket}/{url.path}/*" if url.path else f"{bucket}/*"
    below: dict[str, object] = {"Condition": {"StringLike": {"s3:prefix": [f"{url.path}/*"]}}} if url.path else {}
    return _document(
        {
            "Version": "2012-10-17",
            "Statement": [
                {"Sid": "List", "Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": [bucket], **below},
                {
                    "Sid": "ReadAndAdd",
                    "Effect": "Allow",
                    "Action": ["s3:GetObject", "s3:PutObject"],
                    "Resource": [objects],
                },
                {"Sid": "Delete", "Effect": "Allow", "Action": ["s3:DeleteObject"], "Resource": [objects]},
            ],
        }
    )


def _gcs(url: ArchiveUrl, _settings: Settings) -> str:
    permissions = ",".join(f"storage.objects.{verb}" for verb in ("list", "get", "create", "delete"))
    objects = f"projects/_/buckets/{url.container}/objects/{url.path + '/' if url.path else ''}"
    condition = f'resource.type != "storage.googleapis.com/Object" || resource.name.startsWith("{objects}")'
    return (
        "# Listing is a right on the whole bucket; the condition keeps objects to the archive's path. It needs a\n"
        "# bucket whose objects have no rights of their own.\n"
        f"gcloud storage buckets update {quote(f'gs://{url.container}')} --uniform-bucket-level-access\n"
        f"gcloud iam roles create walE --project=PROJECT --title=WAL-E --permissions={permissions}\n"
        f"gcloud storage buckets add-iam-policy-binding {quote(f'gs://{url.container}')} \\\n"
        "  --member=serviceAccount:SERVICE_ACCOUNT --role=projects/PROJECT/roles/walE \\\n"
        f"  --condition={quote(f'title=wal-e,expression={condition}')}\n"
    )


def _azure(url: ArchiveUrl, _settings: Settings) -> str:
    blobs = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs"
    return _document(
        {
            "Name": f"WAL-E in {url.container}",
            "Description": f"Assign it on .../blobServices/default/containers/{url.container}, for the archive {url}.",
            "Actions": [],
            "DataActions": [f"{blobs}/{right}" for right in ("read", "write", "add/action", "delete")],
            "AssignableScopes": ["/subscriptions/SUBSCRIPTION/resourceGroups/GROUP"],
        }
    )


def _document(document: dict[str, object]) -> str:
    return json.dumps(document, indent=2) + "\n"


_WRITERS: Final[dict[str, Callable[[ArchiveUrl, Settings], str]]] = {
    "swift": _swift,
    "file": _folder,
    "s3": _s3,
    "gs": _gcs,
    "wabs": _azure,
}
