"""The circuit, with a clock of the test's own."""

import contextlib
import threading

import pytest

from weighhouse.rules.errors import Away
from weighhouse.store.circuit import FAILURES, FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, Circuit


class Silence(Exception):
    """Nobody answered."""


class Answer(Exception):
    """Somebody answered, if only to say no."""


class Clock:
    """Seconds as the test wants them."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def circuit(clock: Clock) -> Circuit:
    return Circuit(lambda seconds: Away("It is away.", retry_after_seconds=seconds), clock=clock)


def ask(circuit: Circuit, outcome: BaseException | None = None) -> str:
    """What comes of one call: that it went well, its own error's name, or how long it is to wait."""
    try:
        with circuit.passage(lambda error: isinstance(error, Silence)):
            if outcome is not None:
                raise outcome
    except Away as away:
        return f"wait {away.retry_after_seconds}"
    except BaseException as error:
        return type(error).__name__
    return "well"


def open_up(circuit: Circuit) -> None:
    """Fails as often as it takes."""
    for _ in range(FAILURES):
        assert ask(circuit, Silence()) == "Silence"


def test_all_pass_until_it_has_failed_in_a_row(circuit: Circuit) -> None:
    for _ in range(3 * FAILURES):
        for _ in range(FAILURES - 1):
            assert ask(circuit, Silence()) == "Silence"
        assert ask(circuit) == "well"
    open_up(circuit)
    assert ask(circuit) == "wait 1"


def test_an_answer_is_an_answer_whatever_it_says(circuit: Circuit) -> None:
    for _ in range(3 * FAILURES):
        assert ask(circuit, Silence()) == "Silence"
        assert ask(circuit, Answer()) == "Answer"
    assert ask(circuit) == "well"


def test_after_the_pause_one_is_let_through_and_its_answer_opens_the_way(circuit: Circuit, clock: Clock) -> None:
    open_up(circuit)
    clock.now += FIRST_PAUSE_SECONDS
    with circuit.passage(lambda error: True):
        assert ask(circuit) == "wait 1"
    assert ask(circuit) == "well"
    # And it has to fail as often as at first.
    assert ask(circuit, Silence()) == "Silence"
    assert ask(circuit) == "well"


def test_each_pause_is_twice_as_long_up_to_the_longest(circuit: Circuit, clock: Clock) -> None:
    open_up(circuit)
    pauses = []
    for _ in range(7):
        began = clock.now
        while ask(circuit, Silence()) != "Silence":
            clock.now += 0.25
        pauses.append(clock.now - began)
    assert pauses[:4] == [1, 2, 4, 8]
    assert set(pauses[4:]) == {LONGEST_PAUSE_SECONDS}
    assert ask(circuit) == f"wait {LONGEST_PAUSE_SECONDS:.0f}"
    clock.now += LONGEST_PAUSE_SECONDS
    assert ask(circuit) == "well"
    open_up(circuit)
    assert ask(circuit) == "wait 1"


def test_who_was_let_through_before_does_not_make_the_pause_longer(circuit: Circuit, clock: Clock) -> None:
    barrier, is_open = threading.Barrier(9), threading.Event()

    def fail_late() -> None:
        with contextlib.suppress(Silence), circuit.passage(lambda error: isinstance(error, Silence)):
            barrier.wait()
            is_open.wait()
            raise Silence

    threads = [threading.Thread(target=fail_late) for _ in range(8)]
    for thread in threads:
        thread.start()
    barrier.wait()
    open_up(circuit)
    is_open.set()
    for thread in threads:
        thread.join()
    assert ask(circuit) == "wait 1"
    clock.now += FIRST_PAUSE_SECONDS
    assert ask(circuit) == "well"


def test_a_probe_that_is_cut_off_from_outside_says_nothing_and_another_may_go(circuit: Circuit, clock: Clock) -> None:
    open_up(circuit)
    clock.now += FIRST_PAUSE_SECONDS
    assert ask(circuit, KeyboardInterrupt()) == "KeyboardInterrupt"
    assert ask(circuit) == "well"


def test_a_probe_that_is_told_no_opens_the_way(circuit: Circuit, clock: Clock) -> None:
    open_up(circuit)
    clock.now += FIRST_PAUSE_SECONDS
    assert ask(circuit, Answer()) == "Answer"
    assert ask(circuit) == "well"


def test_of_many_who_come_after_the_pause_one_is_let_through(circuit: Circuit, clock: Clock) -> None:
    open_up(circuit)
    clock.now += FIRST_PAUSE_SECONDS
    start, may_end = threading.Barrier(16), threading.Event()
    outcomes: list[str] = []

    def come() -> None:
        start.wait()
        try:
            with circuit.passage(lambda error: True):
                may_end.wait()
            outcomes.append("well")
        except Away:
            outcomes.append("refused")
            if outcomes.count("refused") == 15:
                may_end.set()

    threads = [threading.Thread(target=come) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(outcomes) == ["refused"] * 15 + ["well"]
