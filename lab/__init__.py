"""
The lab: real PostgreSQL, Swift and Keystone on loopback, for the tests, the demo and the benchmarks.

`python -m lab.install` fetches the servers once; `lab.postgres`, `lab.swift` and `lab.keystone` start and stop them.
Nothing here is part of the product, and nothing in the product imports it.
"""
