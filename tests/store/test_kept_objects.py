"""Objects that a service keeps, for a lease or a policy: that is told as what it is."""

import pytest

from lab.faultproxy import Answer
from lab.web import Web
from wal_e.config import load
from wal_e.errors import Denied
from wal_e.store.registry import driver_for
from wal_e.store.url import parse_url

IMMUTABLE = "409 This operation is not permitted as the blob is immutable due to a policy."
LEASED = "412 There is currently a lease on the blob and no lease ID was specified in the request."


def answer(status: str) -> Answer:
    """What Azure says to a batch of one deletion."""
    lines = ["--b", "Content-Type: application/http", "Content-ID: 0", "", f"HTTP/1.1 {status}", "", "", "--b--", ""]
    return Answer(202, {"Content-Type": "multipart/mixed; boundary=b"}, "\r\n".join(lines).encode())


@pytest.mark.parametrize("status", [IMMUTABLE, LEASED])
def test_a_blob_that_azure_keeps_is_denied_and_not_said_to_exist_already(status: str) -> None:
    driver = driver_for("wabs")
    with Web(lambda *_: answer(status)) as web:
        variables = {"WABS_ACCOUNT_NAME": "a", "WABS_ACCESS_KEY": "a2V5", "WABS_ENDPOINT": f"{web.url}/a"}
        store = driver.open(parse_url("wabs://c"), load(driver.options(), environ=variables))
        with pytest.raises(Denied, match="keeps it") as caught:
            store.delete(["k"])
    assert status[:3] in (caught.value.detail or "")
    assert "policy" in (caught.value.hint or "")
