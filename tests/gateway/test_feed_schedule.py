"""When lists are fetched again: jittered, and ever more rarely while they fail."""

from clearway.gateway.feed_schedule import ASKED_MAX_S, JITTER_PART, RETRY_FIRST_S, FeedSchedule

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
        schedule.failed("a", EVERY_S, now)
        asked = now
        while not schedule.ready([("a", EVERY_S)], now):
            now += 1.0
        waits.append(now - asked)
    assert waits == [RETRY_FIRST_S, 2 * RETRY_FIRST_S, 4 * RETRY_FIRST_S, 8 * RETRY_FIRST_S, 960.0, EVERY_S]
    schedule.succeeded("a")
    assert schedule.attempts["a"].failures == 0


def test_one_failing_list_keeps_no_other_waiting() -> None:
    schedule = FeedSchedule(lambda: 0.0)
    schedule.ready([("a", EVERY_S), ("b", EVERY_S)], 0.0)
    schedule.failed("a", EVERY_S, 0.0)
    assert schedule.ready([("a", EVERY_S), ("b", EVERY_S)], 1.0) == ["b"]


def test_a_server_that_says_when_is_asked_no_sooner() -> None:
    schedule = FeedSchedule(lambda: 0.0)
    assert schedule.failed("a", EVERY_S, 0.0, asked_s=7200.0) == 7200.0
    assert schedule.ready([("a", EVERY_S)], 7199.0) == []
    assert schedule.ready([("a", EVERY_S)], 7200.0) == ["a"]
    assert schedule.failed("a", EVERY_S, 0.0, asked_s=1.0) == 2 * RETRY_FIRST_S
    assert schedule.failed("b", EVERY_S, 0.0, asked_s=1e9) == ASKED_MAX_S


def test_what_was_fetched_and_not_taken_is_asked_for_at_its_usual_time() -> None:
    schedule = FeedSchedule(lambda: 0.0)
    schedule.failed("a", EVERY_S, 0.0)
    schedule.refused("a", EVERY_S, 100.0)
    assert schedule.ready([("a", EVERY_S)], 100.0 + EVERY_S - 1) == []
    assert schedule.ready([("a", EVERY_S)], 100.0 + EVERY_S) == ["a"]


def test_a_restart_forgets_no_pause() -> None:
    schedule = FeedSchedule(lambda: 0.0)
    schedule.restore("a", failures=3, left_s=400.0, now_s=10.0)
    assert schedule.ready([("a", EVERY_S)], 409.0) == []
    assert schedule.ready([("a", EVERY_S)], 410.0) == ["a"]
    assert schedule.failed("a", EVERY_S, 410.0) == 8 * RETRY_FIRST_S
