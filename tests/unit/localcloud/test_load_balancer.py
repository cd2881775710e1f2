"""Whose turn it is to take a push."""

from __future__ import annotations

from ostinato.localcloud.load_balancer import LoadBalancer


def test_each_member_comes_first_in_turn_and_the_others_stand_by() -> None:
    balancer = LoadBalancer({"a:1": ("a:1", "b:2", "c:3")})
    found = [balancer.routes("http://a:1/path?x=1") for _ in range(4)]
    assert found[0] == ["http://a:1/path?x=1", "http://b:2/path?x=1", "http://c:3/path?x=1"]
    assert [routes[0][7:10] for routes in found] == ["a:1", "b:2", "c:3", "a:1"]
    assert {len(routes) for routes in found} == {3}


def test_other_urls_are_left_as_they_are() -> None:
    balancer = LoadBalancer({"a:1": ("b:2",)})
    assert balancer.routes("https://a.example/a:1") == ["https://a.example/a:1"]
    assert LoadBalancer({}).routes("http://a:1/") == ["http://a:1/"]
