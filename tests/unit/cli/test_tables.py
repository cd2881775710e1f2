from __future__ import annotations

import pytest

from ostinato.cli.tables import Column, print_record, print_table

COLUMNS = (Column("ID", right=True), Column("STATUS"), Column("ERROR", shrinks_to=8))


@pytest.fixture(autouse=True)
def line_of_40_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")


def test_columns_are_as_wide_as_what_they_hold(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(COLUMNS, [["1", "FAILED", "disk full"], ["12345", "SUCCEEDED", ""]])
    assert capsys.readouterr().out.splitlines() == [
        "   ID  STATUS     ERROR",
        "    1  FAILED     disk full",
        "12345  SUCCEEDED",
    ]


def test_only_columns_that_may_be_cut_are_cut(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(COLUMNS, [["9063279517011443680", "FAILED", "no space left on device"]])
    assert capsys.readouterr().out.splitlines()[1] == "9063279517011443680  FAILED  no space l…"


def test_an_id_is_never_cut_even_if_the_line_is_too_narrow(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(COLUMNS, [["9" * 50, "FAILED", "no space left"]])
    assert capsys.readouterr().out.splitlines()[1] == "9" * 50 + "  FAILED  no spac…"


def test_wide_characters_count_as_two(capsys: pytest.CaptureFixture[str]) -> None:
    print_table((Column("JOB"), Column("STATE")), [["夜間", "PAUSED"], ["abcd", "PAUSED"]])
    assert capsys.readouterr().out.splitlines() == ["JOB   STATE", "夜間  PAUSED", "abcd  PAUSED"]


def test_markup_and_control_characters_are_text(capsys: pytest.CaptureFixture[str]) -> None:
    print_table((Column("JOB"),), [["[red]a[/red] :smile:\x1b[2J\n"]])
    assert capsys.readouterr().out.splitlines()[1] == r"[red]a[/red] :smile:\x1b[2J\x0a"


def test_a_record_shows_the_fields_that_have_a_value_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    print_record([("job", "shop/nightly"), ("error", ""), ("description", "x" * 60)])
    assert capsys.readouterr().out.splitlines() == ["job          shop/nightly", "description  " + "x" * 60]
