"""What is set about storing goes along with every object of a real backup, and is signed; with requests to pay, too."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from lab.aws_signature import Signed, sign
from lab.faultproxy import FaultProxy, Head
from lab.faults import Answer
from lab.seaweed import KEY, SECRET
from tests.backup.tiny import check_restorable, push
from tests.plugins.buckets import Buckets
from wal_e.config import load
from wal_e.store.registry import driver_for
from wal_e.store.stack import open_store

ENCRYPTION = "x-amz-server-side-encryption"
KMS = f"{ENCRYPTION}-aws-kms-key-id"
PAYER = "x-amz-request-payer"
ARN = "arn:aws:kms:eu-west-1:1:key/k"


def keeps_no_keys(head: Head) -> Answer | Mapping[str, str]:
    """SeaweedFS has no encryption here: the headers are taken off behind the proxy, and the rest is signed again."""
    signed = Signed.of(head)
    assert signed is not None
    headers = {name: value for name, value in head.headers.items() if not name.startswith(ENCRYPTION)}
    return sign(Head(head.method, head.path, headers), KEY, SECRET, signed.scope)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        (
            {"WALE_S3_STORAGE_CLASS": "STANDARD_IA", "WALE_S3_SSE": "AES256"},
            {"x-amz-storage-class": "STANDARD_IA", ENCRYPTION: "AES256"},
        ),
        ({"WALE_S3_SSE_KMS_KEY_ID": ARN}, {ENCRYPTION: "aws:kms", KMS: ARN}),
        (
            {"WALE_S3_SSE": "aws:kms:dsse", "WALE_S3_REQUESTER_PAYS": "true"},
            {ENCRYPTION: "aws:kms:dsse", PAYER: "requester"},
        ),
    ],
)
def test_headers_of_every_object(
    variables: dict[str, str],
    wanted: dict[str, str],
    tiny: Path,
    tmp_path: Path,
    s3_buckets: Buckets,
    container_name: Callable[[], str],
) -> None:
    bucket = s3_buckets.create(container_name())
    with FaultProxy(int(s3_buckets.info.url.rpartition(":")[2]), guard=keeps_no_keys) as proxy:
        environ = s3_buckets.info.at(proxy.url).environment() | {"HOME": str(tmp_path)} | variables
        store = open_store(f"s3://{bucket}/main", load(driver_for("s3").options(), environ=environ))
        push(store, tiny)
        (tmp_path / "data").mkdir()
        check_restorable(store, tiny, tmp_path / "data")
        store.close()
        heads = proxy.heads
    puts = [head for head in heads if head.method == "PUT"]
    for part in ("/cluster.json", "/leases/", "/pack-", "/manifest.json"):
        assert any(part in head.path for head in puts)
    for head in heads:
        signed = Signed.of(head)
        assert signed is not None
        for name, value in wanted.items():
            if head in puts or name == PAYER:
                assert head.headers.get(name) == value
                assert name in signed.names
