"""
What is known of the cluster, kept in a Snapshot, and the keys each change touches.

Three sources write here: informers, kopf's stream of policies, and the answers to our own writes. Versions settle who
is right: an older event changes nothing, and a list removes nothing that is newer than the list.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Final

from virtualservice_operator.controller.outages import Outages
from virtualservice_operator.controller.second_look import SecondLook
from virtualservice_operator.core.objects import ClusterObject, Key, Namespace, Policy, Service, VirtualService
from virtualservice_operator.core.resolution import PlanSettings, Verdict, depends_on_namespace
from virtualservice_operator.core.snapshot import Snapshot
from virtualservice_operator.core.touch import matters, touched_keys
from virtualservice_operator.kube.errors import KubeError
from virtualservice_operator.kube.informer import is_missing_kind, is_unneeded

logger = logging.getLogger(__name__)

KINDS: Final = (Namespace, Service, Policy, VirtualService)
_INSTALL: Final[Mapping[type[ClusterObject], str]] = {
    Policy: "install it: kubectl apply -f crds/",
    VirtualService: "install Istio; until then nothing can be written",
}
_GRANT: Final = "grant it: kubectl apply -k kustomize/base"


class Store:
    """
    The one place that changes the Snapshot. `touch` is told which keys may need work, `review` which policies.

    `recovered` hears that a kind can be listed and watched again, so that others need not wait any longer.
    """

    def __init__(
        self,
        settings: PlanSettings,
        touch: Callable[[Key], None],
        review: Callable[[Key], None],
        *,
        policy_delete_grace: float = 0.0,
        outages: Outages | None = None,
    ) -> None:
        self.snapshot: Final = Snapshot(settings)
        self._outages = outages or Outages()
        self.recovered: Callable[[], None] = lambda: None
        self._touch = touch
        self._review = review
        self._grace = policy_delete_grace
        self._synced: set[type[ClusterObject]] = set()
        self._istio_missing = False
        self._troubles: dict[type[ClusterObject], str] = {}
        self._deleted: dict[str, Key] = {}
        self._dropped: dict[tuple[type[ClusterObject], Key], int] = {}
        self._seen: dict[type[ClusterObject], int] = {}
        self._floor: dict[type[ClusterObject], int] = {}
        self._second_look = SecondLook()
        self._ready = asyncio.Event()

    @property
    def is_istio_installed(self) -> bool:
        """Tell whether the API server knows VirtualServices."""
        return not self._istio_missing

    @property
    def unsynced(self) -> list[str]:
        """Return what is not known yet, for readiness, with the trouble if there is one."""
        return [
            f"{kind.__name__}: {self._troubles.get(kind, 'waiting for the first list')}"
            for kind in KINDS
            if kind not in self._synced
        ]

    async def wait_synced(self) -> None:
        """Return when every kind was listed once: nothing may be planned before."""
        await self._ready.wait()

    # ---- the informers' Sink

    def put(self, item: ClusterObject) -> None:
        """Enter an object, unless what is known is as new."""
        self.put_answer(item)

    def put_answer(self, item: ClusterObject) -> None:
        """Enter an object as an answer to a write of ours has it, unless what is known is as new."""
        self._note_version(item)
        known = self._known(item)
        if self._is_outdated(known, item):
            return
        if isinstance(item, VirtualService) and item.uid in self._deleted:
            return
        self._change(known, item)

    def drop(self, item: ClusterObject) -> None:
        """Take out an object that was deleted, unless a newer one of its name is known."""
        self._note_version(item)
        self._dropped[type(item), item.key] = item.version
        if isinstance(item, VirtualService):
            self._deleted.pop(item.uid, None)
        known = self._known(item)
        if known is not None and known.version <= item.version:
            self._vanish(known)

    def _note_version(self, item: ClusterObject) -> None:
        """Note how new the news of a kind are, from wherever they come."""
        self._seen[type(item)] = max(self._seen.get(type(item), 0), item.version)

    def begin_list(self, kind: type[ClusterObject]) -> None:
        """Note how new a list has to be that begins now: what the API server has said before is in it."""
        self._floor[kind] = self._seen.get(kind, 0)

    def put_written(self, item: VirtualService) -> None:
        """
        Enter what a write of ours has stored: it is what was planned, so nothing has to be planned anew for it.

        But where it was adopted or released, the hosts it claims for others have come or gone.
        """
        self._note_version(item)
        known = self._known(item)
        if self._is_outdated(known, item):
            return
        if isinstance(known, VirtualService) and known.marked != item.marked:
            self._change(known, item)
        else:
            self.snapshot.put(item)
            self._review_holders(known, item)

    def put_verdict(self, policy: Key, verdict: Verdict | None) -> None:
        """Enter what was found about a policy's template; where that changes what it may do, its keys are looked at again."""
        before = self.snapshot.policy(policy)
        if before is None:
            return
        keys = touched_keys(self.snapshot, before.policy)
        self.snapshot.put_verdict(policy, verdict)
        after = self.snapshot.policy(policy)
        if after is not None and after.rejection != before.rejection:
            for key in keys | touched_keys(self.snapshot, after.policy):
                self._touch(key)
        self._review(policy)

    def forget_placeholder(self, item: Service) -> None:
        """Take out a placeholder we have deleted ourselves, unless something newer of its name is known."""
        known = self.snapshot.service(item.key)
        if known is not None and known.version <= item.version:
            self._change(known, None)

    def forget_deleted(self, item: VirtualService) -> None:
        """Take out a VirtualService we have deleted ourselves; events that are still on their way are ignored."""
        self._deleted[item.uid] = item.key
        known = self._known(item)
        if isinstance(known, VirtualService) and known.uid == item.uid:
            self.snapshot.remove(VirtualService, item.key)
            self._review_holders(known)

    def replace_all(self, kind: type[ClusterObject], items: Iterable[ClusterObject], version: int) -> bool:
        """
        Take a complete list: what it lacks is gone, unless it is newer than the list.

        False: it lacks so much that a second one has to say the same; nothing of it was taken.

        A list older than what was known when it began, or with an object older than the list should have it, means that
        etcd was restored: then the list is right.
        """
        listed = {item.key: item for item in items}
        restored = version < self._floor.get(kind, 0) or any(self._is_older(item, version) for item in listed.values())
        vanished = {
            known.key: known
            for known in self.snapshot.all_of(kind)
            if known.key not in listed and (restored or known.version <= version)
        }
        if not self._believes(kind, vanished):
            return False
        self._seen[kind] = version if restored else max(version, self._seen.get(kind, 0))
        self._dropped = {place: at for place, at in self._dropped.items() if place[0] is not kind}
        for known in vanished.values():
            self._dropped[kind, known.key] = version
            self._vanish(known)
        for item in listed.values():
            if restored:
                self._change(self._known(item), item)
            else:
                self.put(item)
        if kind is VirtualService:
            self._deleted.clear()
        self._finish_list(kind, missing=False)
        return True

    def _believes(self, kind: type[ClusterObject], vanished: Mapping[Key, ClusterObject]) -> bool:
        """Tell whether what a list lacks is gone. The first list has nothing to be compared with."""
        if kind not in self._synced:
            return True
        # Of a policy in its grace it is known that it was deleted.
        missing = {key for key, known in vanished.items() if not (isinstance(known, Policy) and known.departing)}
        return self._second_look.believes(kind, missing, sum(1 for _ in self.snapshot.all_of(kind)))

    def report(self, kind: type[ClusterObject], trouble: KubeError | None) -> None:
        """Log what changes about a kind's lists and watches, once."""
        text = None if trouble is None else _describe(kind, trouble)
        is_absent = trouble is not None and is_unneeded(kind, trouble)
        self._outages.report(kind.__name__, None if is_absent else text)
        if self._troubles.get(kind) == text:
            return
        if text is not None and trouble is not None:
            self._troubles[kind] = text
            logger.warning(text)
            if is_absent:
                self._take_missing_istio()
        else:
            del self._troubles[kind]
            logger.info("%s: lists and watches work again", kind.__name__)
            self.recovered()

    def _take_missing_istio(self) -> None:
        """
        Count VirtualServices as known, and none, so that policies can say that Istio is not installed.

        Not so for policies: where our own CRD is gone we wait, rather than take every route away.
        """
        for known in list(self.snapshot.all_of(VirtualService)):
            self._change(known, None)
        self._finish_list(VirtualService, missing=True)

    def _finish_list(self, kind: type[ClusterObject], *, missing: bool) -> None:
        """Note that all of a kind is known; the last one of all opens the gate, and Istio's coming or going moves all."""
        moved = kind is VirtualService and self._istio_missing != missing
        if moved:
            self._istio_missing = missing
        self._synced.add(kind)
        if len(self._synced) == len(KINDS) and not self._ready.is_set():
            self._ready.set()
            moved = True
        if moved and self._ready.is_set():
            self.touch_all()

    # ---- changes

    def _is_outdated(self, known: ClusterObject | None, item: ClusterObject) -> bool:
        """Tell whether something as new is known, be it that the object is gone."""
        at_least = self._dropped.get((type(item), item.key), -1) if known is None else known.version
        return item.version <= at_least

    def _is_older(self, item: ClusterObject, version: int) -> bool:
        """Tell whether an item of a list is older than what was known before the version that the list has."""
        known = self._known(item)
        return known is not None and item.version < known.version <= version

    def _vanish(self, known: ClusterObject) -> None:
        """Take an object out; a policy stays for its grace, in case it is made anew (GitOps replace)."""
        if isinstance(known, Service):
            self.snapshot.note_gone(known.key, time.time())
        if not isinstance(known, Policy) or not self._grace:
            self._change(known, None)
        elif not known.departing:
            self._change(known, replace(known, departing=True))
            asyncio.get_running_loop().call_later(self._grace, self._end_grace, known.key, known.uid)

    def _end_grace(self, key: Key, uid: str) -> None:
        resolved = self.snapshot.policy(key)
        if resolved is not None and resolved.policy.uid == uid and resolved.policy.departing:
            self._change(resolved.policy, None)

    def touch_all(self) -> None:
        """Mark every key there is: the resync, which also finds orphans."""
        for namespace in {policy.policy.key.namespace for policy in self.snapshot.all_policies()}:
            for service in self.snapshot.services_in(namespace):
                self._touch(service.key)
        for item in self.snapshot.all_virtual_services():
            if item.marked:
                for key in touched_keys(self.snapshot, item):
                    self._touch(key)
        for placeholder in list(self.snapshot.all_placeholders()):
            for key in touched_keys(self.snapshot, placeholder):
                self._touch(key)
        for policy in self.snapshot.all_policies():
            self._review(policy.policy.key)

    def _change(self, before: ClusterObject | None, after: ClusterObject | None) -> None:
        """Enter `after` in place of `before`, and mark what either of them touches."""
        item = after or before
        if item is None:
            return
        relevant = matters(before, after)
        keys = set(touched_keys(self.snapshot, before)) if relevant and before is not None else set()
        policies = set(self._reviewed(before)) if relevant else set()
        if after is not None:
            self.snapshot.put(after)
        else:
            self.snapshot.remove(type(item), item.key)
        if relevant and after is not None:
            keys |= touched_keys(self.snapshot, after)
        if relevant and self._ready.is_set():
            for key in keys:
                self._touch(key)
            for policy in policies | set(self._reviewed(after)):
                self._review(policy)

    def _review_holders(self, *items: ClusterObject | None) -> None:
        """Have the policies told that hold a VirtualService as it is: no plan tells them of a write of ours."""
        for policy in {policy for item in items for policy in self._reviewed(item)}:
            self._review(policy)

    def _reviewed(self, item: ClusterObject | None) -> Iterator[Key]:
        """Yield the policies whose status may speak of an object, beyond what its keys' plans say."""
        if isinstance(item, Policy):
            yield item.key
        elif isinstance(item, VirtualService):
            for name in (item.policies or "").split(","):
                resolved = self.snapshot.policy(Key(item.key.namespace, name))
                if resolved is not None and resolved.freezes:
                    yield resolved.policy.key
        elif isinstance(item, Namespace):
            for resolved in self.snapshot.all_policies():
                if depends_on_namespace(resolved.policy, (item,)):
                    yield resolved.policy.key

    def _known(self, item: ClusterObject) -> ClusterObject | None:
        match item:
            case Service():
                return self.snapshot.service(item.key)
            case Namespace():
                return self.snapshot.namespace(item.key.name)
            case VirtualService():
                return self.snapshot.virtual_service(item.key)
            case Policy():
                resolved = self.snapshot.policy(item.key)
                return resolved.policy if resolved is not None else None


def _describe(kind: type[ClusterObject], trouble: KubeError) -> str:
    name = "RoutingPolicy" if kind is Policy else kind.__name__
    if is_missing_kind(trouble):
        return f"{name} is not installed in this cluster; {_INSTALL.get(kind, 'is this Kubernetes?')}"
    remedy = f"; {_GRANT}" if getattr(trouble, "status", 0) == HTTPStatus.FORBIDDEN else ""
    return f"cannot list or watch {name}: {trouble}{remedy}"
