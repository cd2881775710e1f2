"""A seed steers what goes wrong, and all of it comes up."""

from __future__ import annotations

from itertools import islice

from chaos.fault_plan import DatabaseFault, ServiceFault, database_faults, service_faults


def test_a_seed_plans_the_same_faults_each_time_and_another_one_others() -> None:
    first = list(islice(service_faults(1), 50)), list(islice(database_faults(1), 50))
    assert first == (list(islice(service_faults(1), 50)), list(islice(database_faults(1), 50)))
    assert first != (list(islice(service_faults(2), 50)), list(islice(database_faults(2), 50)))


def test_a_service_is_hit_every_two_to_five_seconds_and_the_database_every_ten_to_twenty() -> None:
    assert all(2 <= fault.after <= 5 for fault in islice(service_faults(3), 500))
    assert all(10 <= fault.after <= 20 for fault in islice(database_faults(3), 500))


def test_every_kind_of_fault_is_planned() -> None:
    assert {fault.kind for fault in islice(service_faults(4), 500)} == set(ServiceFault)
    assert {fault.kind for fault in islice(database_faults(4), 500)} == set(DatabaseFault)


def test_who_is_frozen_outlasts_its_lease() -> None:
    frozen = [fault for fault in islice(service_faults(5), 500) if fault.kind is ServiceFault.FREEZE]
    assert frozen
    assert all(fault.lasts > 6 for fault in frozen)
