"""istiod runs as a Pod, and its own webhook judges every VirtualService: whatever the other tests write has passed it."""

import json

from e2e.user import User

WRONG = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "VirtualService",
    "metadata": {"name": "wrong", "namespace": "judged-shop"},
    "spec": {"hosts": ["reviews"], "http": [{"match": [{"headers": {"x-developer": {"regex": "("}}}], "route": []}]},
}


def test_istiods_webhook_refuses_what_istio_does_not_take(user: User) -> None:
    user.namespace("judged-shop")
    code, printed = user.try_kubectl("apply", "-f", "-", stdin=json.dumps(WRONG))
    assert code != 0
    assert 'admission webhook "validation.istio.io" denied the request' in printed


def test_istiods_webhook_takes_every_kind_of_rule_that_a_policy_can_ask_for(user: User) -> None:
    user.namespace("judged-ann")
    user.serve("judged-shop", "reviews", "ratings")
    user.serve("judged-ann", "reviews")
    user.policy(
        "judged-shop",
        developers=[{"name": "ann", "namespaces": ["judged-ann"]}, {"name": "nobody", "namespaces": ["judged-ann"]}],
        matches=[
            {"type": "Header", "name": "x-developer"},
            {"type": "Header", "name": "x-team", "matchType": "Prefix", "value": "{{ DeveloperName }}-"},
            {"type": "Header", "name": "x-any", "matchType": "Regex", "value": ".*{{ DeveloperName }}.*"},
            {"type": "Baggage", "name": "developer"},
            {"type": "Cookie", "name": "developer"},
            {"type": "SourceNamespace"},
        ],
        copies={"whenMissing": "Reject", "unknownDeveloper": "Reject"},
        developerRoute={"timeout": "5s", "retries": {"attempts": 2, "perTryTimeout": "1s"}},
        defaultRoute={"timeout": "30s"},
        exportTo=["."],
        routedToHeader="x-routed-to",
    )
    assert user.rules("judged-shop", "reviews")[-1] == "default"
    assert "defaults.ann.reject" in user.rules("judged-shop", "ratings")
