"""The configuration files of a one-node Swift: four servers, one device, one replica, nothing outside its directory."""

import os
import pwd
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

STORAGE_SERVERS = ("account", "container", "object")
SERVERS = (*STORAGE_SERVERS, "proxy")
DEVICE = "d1"
PLAIN_FILTERS = ("catch_errors", "gatekeeper", "healthcheck", "listing_formats", "bulk", "copy", "slo", "dlo")

# Tempauth keeps its tokens in memcached; one proxy process can keep them itself, and needs no other server then.
CACHE_MODULE = '''\
"""Memcached's part, inside the one proxy process."""
import time


class Cache:
    def __init__(self):
        self.values = {}

    def get(self, key, raise_on_error=False):
        value, ends = self.values.get(key, (None, 0))
        if ends and ends < time.time():
            del self.values[key]
            return None
        return value

    def set(self, key, value, serialize=True, time=0, min_compress_len=0, raise_on_error=False):
        self.values[key] = (value, _now() + time if time else 0)

    def get_multi(self, keys, server_key):
        return [self.get(key) for key in keys]

    def set_multi(self, mapping, server_key, serialize=True, time=0, min_compress_len=0):
        for key, value in mapping.items():
            self.set(key, value, time=time)

    def incr(self, key, delta=1, time=0):
        value = max(0, int(self.get(key) or 0) + delta)
        self.set(key, value, time=time)
        return value

    def decr(self, key, delta=1, time=0):
        return self.incr(key, -delta, time)

    def delete(self, key, server_key=None):
        self.values.pop(key, None)


def _now():
    return time.time()


def filter_factory(global_conf, **local_conf):
    cache = Cache()

    def wrap(app):
        def serve(environ, start_response):
            environ.setdefault("swift.cache", cache)
            return app(environ, start_response)
        return serve
    return wrap
'''

RING_SCRIPT = """\
import os, sys
from swift.common.ring import RingBuilder
folder = sys.argv[1]
for name, port in zip(("account", "container", "object"), map(int, sys.argv[2:])):
    builder = RingBuilder(4, 1, 0)
    builder.add_dev({"id": 0, "region": 1, "zone": 1, "ip": "127.0.0.1", "port": port, "device": "d1", "weight": 1.0,
                     "replication_ip": "127.0.0.1", "replication_port": port, "meta": ""})
    builder.rebalance()
    builder.get_ring().save(os.path.join(folder, name + ".ring.gz"))
"""

# `[swift-constraints]` is read when Swift is imported, from /etc/swift whatever swift_dir says: named here first.
BOOT_SCRIPT = """\
import runpy, sys
import swift.common.utils
swift.common.utils.SWIFT_CONF_FILE = sys.argv.pop(1)
sys.argv.pop(0)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@dataclass(frozen=True, slots=True)
class SwiftOptions:
    """What a test may want different: token life in seconds, the largest object in bytes, and the identity service."""

    users: tuple[tuple[str, str, str], ...] = (("test", "tester", "testing"),)  # account, user, key of tempauth
    keystone: str | None = None  # the URL of Keystone; tempauth without it
    service_password: str = "swiftpw"
    token_life: int = 86400
    max_file_size: int | None = None
    bulk: bool = True
    s3api: bool = True  # with tempauth: access key account:user, its secret the key


def write(directory: Path, ports: Mapping[str, int], options: SwiftOptions, python: Path) -> None:
    """Write all configuration files and rings under `directory`/etc, and make the device's directory."""
    etc = directory / "etc"
    for folder in (etc, directory / "data" / DEVICE, directory / "log"):
        folder.mkdir(parents=True, exist_ok=True)
    limits = f"[swift-constraints]\nmax_file_size = {options.max_file_size}\n" if options.max_file_size else ""
    (etc / "swift.conf").write_text(
        "[swift-hash]\nswift_hash_path_suffix = lab\nswift_hash_path_prefix = lab\n"
        f"[storage-policy:0]\nname = Policy-0\ndefault = yes\n{limits}"
    )
    (etc / "lab_cache.py").write_text(CACHE_MODULE)
    for name in STORAGE_SERVERS:
        (etc / f"{name}-server.conf").write_text(_storage_server(directory, name, ports[name]))
    (etc / "proxy-server.conf").write_text(_proxy_server(directory, ports["proxy"], options))
    storage_ports = [str(ports[name]) for name in STORAGE_SERVERS]
    subprocess.run([python, "-W", "ignore", "-c", RING_SCRIPT, etc, *storage_ports], check=True, cwd=directory)


def _common(directory: Path, port: int) -> str:
    me = pwd.getpwuid(os.geteuid()).pw_name
    return (
        f"[DEFAULT]\nswift_dir = {directory}/etc\ndevices = {directory}/data\nmount_check = false\nuser = {me}\n"
        f"bind_ip = 127.0.0.1\nbind_port = {port}\nworkers = 0\nlog_level = WARNING\nfallocate_reserve = 0\n"
        f"log_address = {directory}/log/none\n"
    )


def _storage_server(directory: Path, name: str, port: int) -> str:
    return (
        f"{_common(directory, port)}[pipeline:main]\npipeline = healthcheck {name}-server\n"
        f"[app:{name}-server]\nuse = egg:swift#{name}\n[filter:healthcheck]\nuse = egg:swift#healthcheck\n"
        f"[{name}-updater]\n[{name}-auditor]\n[{name}-replicator]\n"
    )


def _proxy_server(directory: Path, port: int, options: SwiftOptions) -> str:
    front = ("s3api",) if options.s3api else ()
    auth = ("authtoken", "keystoneauth") if options.keystone else (*front, "tempauth")
    bulk = ("bulk",) if options.bulk else ()
    pipeline = ("catch_errors", "gatekeeper", "healthcheck", "cache", "listing_formats", *bulk, *auth, "copy", "slo")
    parts = [
        _common(directory, port),
        f"[pipeline:main]\npipeline = {' '.join(pipeline)} dlo proxy-server\n",
        "[app:proxy-server]\nuse = egg:swift#proxy\nallow_account_management = true\naccount_autocreate = true\n",
        "[filter:cache]\npaste.filter_factory = lab_cache:filter_factory\n",
        *(f"[filter:{name}]\nuse = egg:swift#{name}\n" for name in PLAIN_FILTERS),
        "[filter:s3api]\nuse = egg:swift#s3api\nlocation = us-east-1\nallow_no_owner = true\n",
        _keystone_filters(options) if options.keystone else _tempauth_filter(options),
    ]
    return "".join(parts)


def _tempauth_filter(options: SwiftOptions) -> str:
    return f"[filter:tempauth]\nuse = egg:swift#tempauth\ntoken_life = {options.token_life}\n" + "".join(
        f"user_{account}_{user} = {key} .admin\n" for account, user, key in _valid(options.users)
    )


def _valid(users: Sequence[tuple[str, str, str]]) -> Sequence[tuple[str, str, str]]:
    for account, user, _ in users:
        if "_" in account or "_" in user:
            raise ValueError("tempauth separates account and user by underscores")
    return users


def _keystone_filters(options: SwiftOptions) -> str:
    return (
        "[filter:authtoken]\npaste.filter_factory = keystonemiddleware.auth_token:filter_factory\n"
        f"www_authenticate_uri = {options.keystone}\nauth_url = {options.keystone}\nauth_type = password\n"
        "project_domain_id = default\nuser_domain_id = default\nproject_name = service\nusername = swift\n"
        f"password = {options.service_password}\ndelay_auth_decision = True\ncache = swift.cache\n"
        "service_token_roles_required = true\nservice_token_roles = service\ninclude_service_catalog = False\n"
        # A revoked token is refused after this many seconds at the latest.
        "token_cache_time = 2\n"
        "[filter:keystoneauth]\nuse = egg:swift#keystoneauth\noperator_roles = admin, member\nreseller_prefix = AUTH\n"
    )
