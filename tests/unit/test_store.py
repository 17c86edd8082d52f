"""What is known of the cluster, whatever the order in which its three sources speak."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest

from builders import SETTINGS, key, managed, namespace, policy, service
from virtualservice_operator.controller.store import KINDS, Store
from virtualservice_operator.core.objects import Key, Policy, Service, VirtualService

OURS = key("shop/reviews-virtual-service")


@pytest.fixture
def touched() -> set[Key]:
    return set()


@pytest.fixture
def store(touched: set[Key]) -> Iterator[Store]:
    found = Store(SETTINGS, touched.add, lambda _: None)
    for kind in KINDS:
        found.replace_all(kind, (), 10)
    touched.clear()
    return found


def ours(version: int) -> VirtualService:
    return replace(managed(str(OURS)), version=version)


def test_our_own_answer_that_comes_after_the_deletion_brings_nothing_back(store: Store) -> None:
    store.put_written(ours(11))
    store.drop(ours(13))
    store.put_written(ours(12))
    assert store.snapshot.virtual_service(OURS) is None


def test_an_answer_that_is_older_than_a_list_without_the_object_brings_nothing_back(store: Store) -> None:
    store.put_written(ours(11))
    store.replace_all(VirtualService, (), 20)
    store.put_written(ours(12))
    assert store.snapshot.virtual_service(OURS) is None


def test_a_status_answer_does_not_bring_a_deleted_policy_back(store: Store) -> None:
    found = policy("shop/defaults")
    store.put(replace(found, version=11))
    store.drop(replace(found, version=13))
    store.put_answer(replace(found, version=12))
    assert store.snapshot.policy(key("shop/defaults")) is None


def test_what_is_made_anew_after_a_deletion_is_known(store: Store) -> None:
    store.put_written(ours(11))
    store.drop(ours(13))
    store.put_written(ours(14))
    assert store.snapshot.virtual_service(OURS) is not None


def test_a_list_older_than_what_the_watch_has_shown_is_a_restored_cluster_and_is_right(store: Store) -> None:
    store.put(replace(service("shop/gone"), version=4000))
    store.put(replace(service("shop/ratings", annotations={"x": "2"}), version=3999))
    store.begin_list(Service)
    store.replace_all(Service, [replace(service("shop/ratings", annotations={"x": "1"}), version=2990)], 3001)
    assert store.snapshot.service(key("shop/gone")) is None
    found = store.snapshot.service(key("shop/ratings"))
    assert found is not None
    assert found.version == 2990


def test_a_policy_that_kopf_delivers_while_a_list_is_under_way_is_newer_than_the_list(store: Store) -> None:
    store.begin_list(Policy)
    store.put(replace(policy("shop/new"), version=4000))
    store.put(replace(policy("shop/defaults", {"priority": 2}), version=3999))
    store.replace_all(Policy, [replace(policy("shop/defaults", {"priority": 1}), version=2990)], 3998)
    assert store.snapshot.policy(key("shop/new")) is not None
    found = store.snapshot.policy(key("shop/defaults"))
    assert found is not None
    assert found.spec.priority == 2


def test_a_list_of_policies_older_than_the_last_is_a_restored_cluster_and_is_right(store: Store) -> None:
    listed = [
        replace(policy("shop/gone"), version=3990),
        replace(policy("shop/defaults", {"priority": 2}), version=3999),
    ]
    store.replace_all(Policy, listed, 4000)
    store.begin_list(Policy)
    store.replace_all(Policy, [replace(policy("shop/defaults", {"priority": 1}), version=2990)], 3001)
    assert store.snapshot.policy(key("shop/gone")) is None
    found = store.snapshot.policy(key("shop/defaults"))
    assert found is not None
    assert found.spec.priority == 1


def test_what_a_write_of_ours_has_stored_needs_no_new_plan(store: Store, touched: set[Key]) -> None:
    store.put_written(ours(11))
    assert touched == set()


def test_a_policy_that_is_suspended_is_told_when_what_it_holds_is_written_or_deleted() -> None:
    reviewed: list[Key] = []
    store = Store(SETTINGS, lambda _: None, reviewed.append)
    for kind in KINDS:
        store.replace_all(kind, (), 10)
    store.put(policy("shop/q", {"mode": "Suspended"}))
    store.put(policy("shop/p"))
    reviewed.clear()
    store.put_written(replace(ours(11), policies="p,q"))
    assert reviewed == [key("shop/q")]
    store.put_written(replace(ours(12), policies="p"))
    assert reviewed == [key("shop/q")] * 2
    store.put_written(replace(ours(13), policies="q"))
    store.forget_deleted(replace(ours(13), policies="q"))
    assert reviewed == [key("shop/q")] * 4


def test_one_that_was_released_may_claim_hosts_of_others(store: Store, touched: set[Key]) -> None:
    store.put_written(ours(11))
    unmarked = replace(ours(12), marked=False, hosts=("ratings",))
    store.put_written(unmarked)
    assert key("shop/ratings") in touched


def test_a_deleted_service_leaves_its_name_free_for_a_moment() -> None:
    store = Store(replace(SETTINGS, placeholder_delay=5), lambda _: None, lambda _: None)
    place = key("alice/reviews")
    store.put(namespace("alice"))
    store.put(service(str(place)))
    assert store.snapshot.gone_since(place) is None
    store.drop(service(str(place)))
    assert store.snapshot.gone_since(place) is not None
    store.put(replace(service(str(place)), version=2))
    assert store.snapshot.gone_since(place) is None


def test_a_list_with_an_older_object_than_it_should_have_is_of_a_restored_etcd(store: Store, touched: set[Key]) -> None:
    """Its version may have grown beyond what was seen before, by whatever else was written since."""
    store.put(ours(15))
    store.forget_deleted(replace(managed("shop/ratings-virtual-service"), version=16, uid="deleted before"))
    back = replace(managed("shop/ratings-virtual-service"), version=11, uid="deleted before")
    store.replace_all(VirtualService, (ours(12), back), 20)
    found = store.snapshot.virtual_service(OURS)
    assert found is not None
    assert found.version == 12
    assert store.snapshot.virtual_service(back.key) == back
    assert {key("shop/reviews"), key("shop/ratings")} <= touched


def test_a_list_older_than_our_own_write_was_when_it_began_is_of_a_restored_etcd(store: Store) -> None:
    store.put_written(ours(21))
    store.begin_list(VirtualService)
    store.replace_all(VirtualService, (ours(12),), 20)
    found = store.snapshot.virtual_service(OURS)
    assert found is not None
    assert found.version == 12


def test_a_list_from_before_our_own_write_changes_nothing(store: Store) -> None:
    store.begin_list(VirtualService)
    store.put_written(ours(21))
    store.replace_all(VirtualService, (ours(12),), 20)
    found = store.snapshot.virtual_service(OURS)
    assert found is not None
    assert found.version == 21


def services(*numbers: int) -> list[Service]:
    return [replace(service(f"shop/s{number}"), version=11) for number in numbers]


def known(store: Store) -> int:
    return sum(1 for _ in store.snapshot.all_of(Service))


def test_what_a_list_lacks_is_kept_where_it_is_much_until_a_second_list_says_the_same(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    assert store.replace_all(Service, services(*range(10)), 20)
    assert not store.replace_all(Service, services(0, 1), 30)
    assert known(store) == 10
    assert store.replace_all(Service, services(0, 1), 31)
    assert known(store) == 2
    assert [record.getMessage() for record in caplog.records] == [
        "Service: a list lacks 8 of the 10 that are known; they are kept until a second one says the same",
        "Service: of the 8 that a list lacked, a second one lacks 8: those are gone",
    ]


def test_what_a_second_list_has_again_was_never_gone(store: Store) -> None:
    store.replace_all(Service, services(*range(10)), 20)
    assert not store.replace_all(Service, (), 30)
    assert store.replace_all(Service, services(*range(9)), 31)
    assert known(store) == 9


def test_a_second_list_that_lacks_others_is_not_believed_either(store: Store) -> None:
    store.replace_all(Service, services(*range(20)), 20)
    assert not store.replace_all(Service, services(*range(10)), 30)
    assert not store.replace_all(Service, services(*range(10, 20)), 31)
    assert known(store) == 20
    assert store.replace_all(Service, services(*range(10, 20)), 32)


@pytest.mark.parametrize(("before", "after"), [(6, 1), (100, 80)], ids=["five", "a fifth"])
def test_so_many_may_be_missing_from_one_list(store: Store, before: int, after: int) -> None:
    store.replace_all(Service, services(*range(before)), 20)
    assert store.replace_all(Service, services(*range(after)), 30)
    assert known(store) == after
    assert store.replace_all(Service, services(*range(before)), 40)
    assert not store.replace_all(Service, services(*range(after - 1)), 50)


def test_a_restored_etcd_that_lacks_much_is_believed_at_the_second_list(store: Store) -> None:
    store.replace_all(Service, services(*range(10)), 4000)
    for is_taken in (False, True):
        store.begin_list(Service)
        assert store.replace_all(Service, services(0), 3001) is is_taken
    assert known(store) == 1


def test_policies_that_are_known_to_be_deleted_are_not_missed(touched: set[Key]) -> None:
    async def test() -> None:
        store = Store(SETTINGS, touched.add, lambda _: None, policy_delete_grace=5)
        policies = [replace(policy(f"shop/p{number}"), version=11) for number in range(10)]
        store.replace_all(Policy, policies, 20)
        for item in policies:
            store.drop(replace(item, version=21))
        assert store.replace_all(Policy, (), 30)

    asyncio.run(test())
