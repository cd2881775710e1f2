from __future__ import annotations

from datetime import timedelta

from ostinato.localcloud.faults import UNHARMED, Fault, FaultKind, FaultPlan


def test_nothing_goes_wrong_unless_it_was_planned() -> None:
    plan = FaultPlan()
    plan.add(Fault("CreateTask", FaultKind.REFUSED))
    assert plan.choose("GetTask") == UNHARMED


def test_a_script_spares_the_first_and_ends_after_its_times() -> None:
    plan = FaultPlan()
    plan.add(Fault("CreateTask", FaultKind.REFUSED, code="INTERNAL", skip=1, times=2))
    assert [plan.choose("CreateTask").refused for _ in range(4)] == [None, "INTERNAL", "INTERNAL", None]
    (planned,) = plan.planned()
    assert (planned.seen, planned.hits) == (4, 2)


def test_the_same_seed_draws_the_same_faults() -> None:
    def drawn(plan: FaultPlan) -> list[str | None]:
        plan.add(Fault("*", FaultKind.REFUSED, rate=0.3))
        return [plan.choose("Publish").refused for _ in range(200)]

    reseeded = FaultPlan(1)
    reseeded.reseed(9)
    first = drawn(FaultPlan(9))
    assert first == drawn(FaultPlan(9)) == drawn(reseeded) != drawn(FaultPlan(1))
    assert 30 < first.count("UNAVAILABLE") < 90


def test_what_several_faults_want_adds_up() -> None:
    plan = FaultPlan()
    for _ in range(2):
        plan.add(Fault("*", FaultKind.SLOW, delay=timedelta(seconds=2)))
        plan.add(Fault("dispatch", FaultKind.DUPLICATED))
    plan.add(Fault("dispatch", FaultKind.ANSWER_LOST, code="ABORTED"))
    fate = plan.choose("dispatch")
    assert (fate.delay, fate.copies, fate.refused, fate.answer_lost) == (timedelta(seconds=4), 3, None, "ABORTED")


def test_a_cleared_plan_harms_nobody() -> None:
    plan = FaultPlan()
    plan.add(Fault("*", FaultKind.REFUSED))
    plan.clear()
    assert plan.choose("Publish") == UNHARMED
