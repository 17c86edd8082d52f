"""Who asks for a list gets one that began afterwards."""

import asyncio

import pytest

from virtualservice_operator.kube.errors import ApiError, ConnectionLost
from virtualservice_operator.kube.informer import FreshLists

MISSING = ApiError(404, "", "404 page not found")


async def test_a_list_that_began_after_the_question_answers_it() -> None:
    lists = FreshLists()
    asked = lists.ask()
    assert lists
    with lists.listing():
        assert not asked.done()
    assert asked.done()
    assert not lists


async def test_a_list_that_was_under_way_does_not() -> None:
    lists = FreshLists()
    with lists.listing():
        asked = lists.ask()
    assert not asked.done()
    assert lists


async def test_a_list_that_fails_answers_nobody() -> None:
    lists = FreshLists()
    asked = lists.ask()
    with pytest.raises(ConnectionLost), lists.listing():
        raise ConnectionLost("cut")
    assert not asked.done()
    assert lists


async def test_that_a_kind_is_missing_is_an_answer() -> None:
    lists = FreshLists()
    asked = lists.ask()
    with pytest.raises(ApiError), lists.listing():
        raise MISSING
    assert asked.done()


async def test_who_has_given_up_is_no_trouble() -> None:
    lists = FreshLists()
    lists.ask().cancel()
    with lists.listing():
        await asyncio.sleep(0)
    assert not lists
