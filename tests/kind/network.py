"""
The network between the nodes of a cluster on our own node image, which has no kindnetd.

In the image each node's Pods have the same addresses, which is enough for one node. With several, each node gets the range
that Kubernetes has given it, and a route to the others'.
"""

from __future__ import annotations

import json

from pytest_kind import KindCluster

from kind.engine import Engine

PODS = "10.244.0.0/16"
CONFLIST = "/etc/cni/net.d/10-ptp.conflist"
MASQUERADE = f"POSTROUTING -s {PODS} ! -d {PODS} -j MASQUERADE"
SETUP = f"""
set -e
jq --arg range "$1" '.plugins[0].ipMasq = false | .plugins[0].ipam.ranges = [[{{subnet: $range}}]]' {CONFLIST} >/run/conflist
mv /run/conflist {CONFLIST}
iptables -t nat -C {MASQUERADE} 2>/dev/null || iptables -t nat -A {MASQUERADE}
shift
while [ $# -gt 0 ]; do ip route replace "$1" via "$2"; shift 2; done
"""


def connect_nodes(cluster: KindCluster, engine: Engine) -> None:
    """Give each node its range of Pod addresses and routes to the others'; Pods that run already keep theirs."""
    ranges = {}
    for node in json.loads(cluster.kubectl("get", "nodes", "-o", "json"))["items"]:
        address = next(item["address"] for item in node["status"]["addresses"] if item["type"] == "InternalIP")
        ranges[node["metadata"]["name"]] = (node["spec"]["podCIDR"], address)
    for name, (own, _) in ranges.items():
        routes = [part for other, pair in ranges.items() if other != name for part in pair]
        engine.docker("exec", name, "sh", "-c", SETUP, "sh", own, *routes)
