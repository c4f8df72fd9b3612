"""When lists are fetched again: jittered, and ever more rarely while they fail."""

from clearway.gateway.feed_schedule import JITTER_PART, RETRY_FIRST_S, FeedSchedule

EVERY_S = 1000.0


def test_a_due_list_waits_its_jitter_and_no_longer() -> None:
    schedule = FeedSchedule(lambda: 1.0)
    assert schedule.ready([("a", EVERY_S)], 0.0) == []
    assert schedule.ready([("a", EVERY_S)], EVERY_S * JITTER_PART) == ["a"]


def test_without_chance_it_is_fetched_at_once() -> None:
    assert FeedSchedule(lambda: 0.0).ready([("a", EVERY_S)], 5.0) == ["a"]


def test_failures_double_the_wait_up_to_every() -> None:
    schedule = FeedSchedule(lambda: 0.0)
    now, waits = 0.0, []
    for _ in range(6):
        assert schedule.ready([("a", EVERY_S)], now) == ["a"]
        schedule.failed("a", "no route", EVERY_S, now)
        asked = now
        while not schedule.ready([("a", EVERY_S)], now):
            now += 1.0
        waits.append(now - asked)
    assert waits == [RETRY_FIRST_S, 2 * RETRY_FIRST_S, 4 * RETRY_FIRST_S, 8 * RETRY_FIRST_S, 960.0, EVERY_S]
    assert schedule.attempts["a"].last_error == "no route"
    schedule.succeeded("a")
    assert schedule.attempts["a"].failures == 0


def test_one_failing_list_keeps_no_other_waiting() -> None:
    schedule = FeedSchedule(lambda: 0.0)
    schedule.ready([("a", EVERY_S), ("b", EVERY_S)], 0.0)
    schedule.failed("a", "no route", EVERY_S, 0.0)
    assert schedule.ready([("a", EVERY_S), ("b", EVERY_S)], 1.0) == ["b"]
