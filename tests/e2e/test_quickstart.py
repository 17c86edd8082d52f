"""The README's commands, in the order in which it has them, and what a user then sees."""

import re

from e2e.user import ROOT, User, eventually


def commands() -> list[str]:
    """Return the kubectl commands of the README's section about kind, without what makes cluster and image."""
    section = (ROOT / "README.md").read_text().split("\n## On a kind cluster\n")[1].split("\n## ")[0]
    lines = "\n".join(re.findall(r"```\n(.*?)```", section, re.DOTALL)).splitlines()
    return [line.partition("  #")[0].strip() for line in lines if line.startswith("kubectl ")]


def test_the_readmes_commands_end_with_a_routed_virtual_service(user: User) -> None:
    found = commands()
    assert len(found) >= 5
    for command in found:
        if " istio" not in command:  # Istio's CRDs come from its Go module here
            shown = user.kubectl(*command.removeprefix("kubectl ").split())
    assert "x-developer" in shown
    assert "reviews.dev-alice.svc.cluster.local" in shown


def test_get_describe_and_explain_read_well(user: User) -> None:
    user.namespace("read-shop")
    user.serve("read-shop", "reviews")
    user.policy("read-shop", developers=[{"name": "nobody"}])
    header, row = user.kubectl("get", "rpol", "-n", "read-shop").strip().splitlines()
    assert header.split() == ["NAME", "READY", "REASON", "SERVICES", "ROUTES", "DEVELOPERS", "AGE"]
    assert row.split()[:6] == ["defaults", "True", "Programmed", "1/1", "0", "1"]
    described = user.kubectl("describe", "rpol", "defaults", "-n", "read-shop")
    assert "there is no namespace nobody; create it, or correct the entry in spec.developers" in described
    eventually("an Event", lambda: "VirtualServiceCreated" in user.kubectl("describe", "rpol", "-n", "read-shop"))
    assert "How a request names its developer" in user.kubectl("explain", "rpol.spec.matches")


def test_a_mistake_is_refused_with_a_remedy(user: User) -> None:
    sample = ROOT / "samples/invalid/header-upper-case.yaml"
    user.namespace("shop")
    code, printed = user.try_kubectl("apply", "-f", str(sample))
    assert code != 0
    assert "header names are lower case" in printed
