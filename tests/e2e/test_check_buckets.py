"""
`wal-e check` on real stores of buckets: what it makes, and that each verdict is what the rights of the user say.

One scene for each service: who has the policy that it prints passes, and who lacks one right of it hears of that one.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from lab import azurite, seaweed
from lab.bucket import BucketInfo
from lab.processes import run_directory
from lab.seaweed import SeaweedNode
from tests.e2e.checked import bad, checked
from tests.e2e.scene import Scene, bucket_scene
from tests.plugins.buckets import Buckets
from wal_e.config import load
from wal_e.errors import Denied, NotFound
from wal_e.store.api import Store
from wal_e.store.policy import least_rights
from wal_e.store.registry import driver_for
from wal_e.store.stack import open_store
from wal_e.store.url import parse_url

pytestmark = pytest.mark.slow

BUCKET = "policed"
DELETING = {"delete": "warning", "bulk delete": "warning"}
READING = {"get": "failed", "range": "failed"}
STORING = {"put": "failed", "create-only": "failed"}


def policies() -> dict[str, dict[str, object]]:
    """The policy that is printed, what is left of it without one of its rights, and the right to make a bucket."""
    whole = json.loads(least_rights(parse_url(f"s3://{BUCKET}/main"), load(())))
    actions = [action for statement in whole["Statement"] for action in statement["Action"]]
    found = {action.partition(":")[2]: without(whole, action) for action in actions}
    maker = {"Effect": "Allow", "Action": ["s3:CreateBucket"], "Resource": ["arn:aws:s3:::*"]}
    return found | {"whole": whole, "maker": {**whole, "Statement": [*whole["Statement"], maker]}}


def without(policy: dict[str, object], action: str) -> dict[str, object]:
    statements: list[dict[str, list[str]]] = json.loads(json.dumps(policy["Statement"]))
    for statement in statements:
        statement["Action"] = [name for name in statement["Action"] if name != action]
    return {**policy, "Statement": [statement for statement in statements if statement["Action"]]}


def opened(address: str, variables: Mapping[str, str]) -> Store:
    return open_store(address, load(driver_for("s3").options(), environ=variables))


@pytest.fixture
def policed() -> Iterator[BucketInfo]:
    """A SeaweedFS with a key for each of the policies."""
    with SeaweedNode(run_directory() / "policed", policies()) as node:
        yield node.info


def verdicts(scene: Scene, env: Mapping[str, str]) -> tuple[int, dict[str, str]]:
    code, found = checked(scene, "--no-postgres", env=env)
    assert found["credentials"][0] == "ok"
    return code, bad(found)


def test_the_policy_of_s3_is_enough_and_each_right_of_it_is_needed(policed: BucketInfo) -> None:
    def key(name: str) -> dict[str, str]:
        return seaweed.holder(policed, name)

    with bucket_scene(Buckets(policed, lambda name: name), BUCKET) as scene:
        code, found = checked(scene, "--no-postgres", env=key("whole"))
        assert (code, bad(found)) == (1, {"container": "failed"})
        code, found = checked(scene, "--no-postgres", "--create", env=key("whole"))
        assert (code, bad(found)) == (1, {"created": "failed"})
        assert "s3:CreateBucket" in found["created"][1]
        code, found = checked(scene, "--no-postgres", "--create", env=key("maker"))
        assert (code, bad(found), found["created"][0]) == (0, {}, "ok")
        code, found = checked(scene, "--no-postgres", "--create", env=key("whole"))
        assert (code, bad(found), "created" in found) == (0, {}, False)

        with pytest.raises(NotFound):  # the policy allows no listing of all the bucket
            opened(f"s3://{BUCKET}/main", key("whole")).head("wal_005/absent")
        with pytest.raises(Denied):
            list(opened(f"s3://{BUCKET}/other", key("whole")).list())
        assert verdicts(scene, key("DeleteObject")) == (0, DELETING)
        assert verdicts(scene, key("GetObject")) == (1, READING)
        assert verdicts(scene, key("PutObject")) == (1, STORING)
        assert verdicts(scene, key("ListBucket")) == (1, {"list": "failed"})

        for env in ({"AWS_ACCESS_KEY_ID": "nobody"}, {"AWS_SECRET_ACCESS_KEY": "wrong"}):
            code, found = checked(scene, "--no-postgres", "--create", env=key("whole") | env)
            assert (code, bad(found)) == (1, {"credentials": "failed"})
            assert "secret" in found["credentials"][1]


def test_a_bucket_is_made_through_swifts_own_front(
    swift_s3_buckets: Buckets, container_name: Callable[[], str]
) -> None:
    with bucket_scene(swift_s3_buckets, container_name()) as scene:
        code, found = checked(scene, "--no-postgres", "--create")
        assert (code, bad(found), found["created"][0]) == (0, {}, "ok")
        code, found = checked(scene, "--no-postgres", "--create")
        assert (code, bad(found), "created" in found) == (0, {}, False)


def test_a_container_of_azure_is_made_and_each_right_of_a_signature_is_needed(
    azure_buckets: Buckets, container_name: Callable[[], str]
) -> None:
    info, container = azure_buckets.info, container_name()

    def signed(permissions: str) -> dict[str, str]:
        return azurite.holder(info, container, permissions)

    with bucket_scene(azure_buckets, container) as scene:
        code, found = checked(scene, "--no-postgres", env=signed("rwdl"))
        assert (code, bad(found)) == (1, {"container": "failed"})
        code, found = checked(scene, "--no-postgres", "--create", env=signed("rwdlc"))
        assert (code, bad(found)) == (1, {"created": "failed"})
        assert "az storage container create" in found["created"][1]
        code, found = checked(scene, "--no-postgres", "--create")
        assert (code, bad(found), found["created"][0]) == (0, {}, "ok")
        code, found = checked(scene, "--no-postgres", "--create", env=signed("rwdl"))
        assert (code, bad(found), "created" in found) == (0, {}, False)

        assert verdicts(scene, signed("rwl")) == (0, DELETING)
        assert verdicts(scene, signed("wdl")) == (1, READING)
        assert verdicts(scene, signed("rdl")) == (1, STORING)
        assert verdicts(scene, signed("rwd")) == (1, {"list": "failed"})

        for env in ({"WABS_ACCESS_KEY": "d3Jvbmc="}, {"WABS_ACCESS_KEY": "", "WABS_SAS_TOKEN": "sv=2021-08-06&sig=no"}):
            code, found = checked(scene, "--no-postgres", "--create", env=env)
            assert (code, bad(found)) == (1, {"credentials": "failed"})
            assert "Check the key" in found["credentials"][1]
        code, found = checked(scene, "--no-postgres", "--create", env={"WABS_ACCESS_KEY": "%"})
        assert (code, bad(found)) == (1, {"credentials": "failed"})


def test_a_signature_of_the_account_makes_a_container_of_azure(
    azure_buckets: Buckets, container_name: Callable[[], str]
) -> None:
    driver, url = driver_for("wabs"), parse_url(f"wabs://{container_name()}/main")
    settings = load(driver.options(), environ=azurite.account_holder(azure_buckets.info, "rlc"))
    assert driver.create_container(url, settings)
    assert not driver.create_container(url, settings)
    assert list(driver.open(url, settings).list()) == []


def test_a_bucket_of_google_is_made_and_each_permission_of_the_role_is_needed(
    gs_buckets: Buckets, container_name: Callable[[], str]
) -> None:
    info = gs_buckets.info
    with bucket_scene(gs_buckets, container_name()) as scene:
        key = private_key()
        role = scene.wal_e("check", "--policy").stdout
        granted = role.partition("--permissions=")[2].split("\n")[0].split(",")

        def account(*permissions: str, project: str = "") -> dict[str, str]:
            return service_account(scene, info, key, ",".join(permissions), project)

        code, found = checked(scene, "--no-postgres", env=account(*granted))
        assert (code, bad(found)) == (1, {"container": "failed"})
        code, found = checked(scene, "--no-postgres", "--create", env=account(*granted))
        assert (code, bad(found)) == (1, {"created": "failed"})
        assert "GOOGLE_CLOUD_PROJECT" in found["created"][1]
        code, found = checked(scene, "--no-postgres", "--create", env=account(*granted, project="mine"))
        assert (code, bad(found)) == (1, {"created": "failed"})
        assert "storage.buckets.create" in found["created"][1]
        env = account("storage.buckets.create", *granted) | {"GOOGLE_CLOUD_PROJECT": "mine"}
        code, found = checked(scene, "--no-postgres", "--create", env=env)
        assert (code, bad(found), found["created"][0]) == (0, {}, "ok")
        code, found = checked(scene, "--no-postgres", "--create", env=account(*granted))
        assert (code, bad(found), "created" in found) == (0, {}, False)

        missing = {
            "storage.objects.delete": (0, DELETING),
            "storage.objects.get": (1, READING),
            "storage.objects.create": (1, STORING),
            "storage.objects.list": (1, {"list": "failed"}),
        }
        assert set(granted) == set(missing)
        for permission, expected in missing.items():
            assert verdicts(scene, account(*(set(granted) - {permission}))) == expected

        env = account(*granted)
        Path(env["GOOGLE_APPLICATION_CREDENTIALS"]).write_text("{}")
        code, found = checked(scene, "--no-postgres", "--create", env=env)
        assert (code, bad(found)) == (1, {"credentials": "failed"})


def private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    kinds = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(*kinds).decode()


def service_account(scene: Scene, info: BucketInfo, key: str, permissions: str, project: str) -> dict[str, str]:
    """The variables of an account that may do this; the emulator reads it from the address that gives the token."""
    about = {"type": "service_account", "client_email": "backup@x", "private_key": key}
    about["token_uri"] = f"{info.url}/token/{permissions}"
    file = scene.directory / "account.json"
    file.write_text(json.dumps(about | ({"project_id": project} if project else {})))
    return {
        "GOOGLE_APPLICATION_CREDENTIALS": str(file),
        "WALE_GS_ENDPOINT": info.url,
        "STORAGE_EMULATOR_HOST": "",
    }
