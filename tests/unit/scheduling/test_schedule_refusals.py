"""What is no schedule, and how the answer says where and what is expected."""

from __future__ import annotations

import pytest

from ostinato.scheduling.schedule import ScheduleError, parse_schedule


def refusal(text: str) -> ScheduleError:
    with pytest.raises(ScheduleError) as caught:
        parse_schedule(text)
    return caught.value


@pytest.mark.parametrize(
    ("text", "position", "fragment"),
    [
        ("* * * *", 8, "field 5 (day of week) is missing"),
        ("*", 2, "field 2 (hour) is missing"),
        ("* * * * * * * *", 15, "after the 7th field"),
        ("61 * * * *", 1, "minute (field 1, column 1): 61 is out of range, expected 0-59"),
        ("60 * * * * * *", 1, "second (field 1, column 1): 60 is out of range, expected 0-59"),
        ("0 24 * * *", 3, "hour (field 2, column 3): 24 is out of range, expected 0-23"),
        ("0 0 0 * *", 5, "day of month (field 3, column 5): 0 is out of range, expected 1-31"),
        ("0 0 32 * *", 5, "expected 1-31"),
        ("0 0 * 13 *", 7, "month (field 4, column 7): 13 is out of range, expected 1-12 or a name such as JAN"),
        ("0 0 * 0 *", 7, "expected 1-12"),
        ("0 0 * * 8", 9, "day of week (field 5, column 9): 8 is out of range, expected 0-7 or a name such as SUN"),
        ("0 0 * * * 1969", 11, "year (field 6, column 11): 1969 is out of range, expected 1970-2099"),
        ("0 0 * * * 2100", 11, "expected 1970-2099"),
        ("  x5 * * * *", 3, "minute (field 1, column 3): 'x5' is not understood"),
        ("-5 * * * *", 1, "'' is not understood"),
        ("+5 * * * *", 1, "'+5' is not understood"),
        ("1.5 * * * *", 1, "'1.5' is not understood"),
        ("٣ * * * *", 1, "'٣' is not understood"),
        ("0 0 * * mo", 9, "'mo' is not understood"),
        ("0 0 * mon *", 7, "'mon' is not understood"),
        ("0\n0 * * * *", 1, "not understood"),
    ],
)
def test_fields_out_of_place_or_range(text: str, position: int, fragment: str) -> None:
    error = refusal(text)
    assert fragment in str(error)
    assert error.position == position


@pytest.mark.parametrize(
    ("text", "position", "fragment"),
    [
        ("0 5-2 * * *", 5, "runs backwards, expected at least 5"),
        ("0 0 * * fri-sun", 13, "write 7 for a Sunday"),
        ("0 0 * * 7-5", 11, "runs backwards"),
        ("0 0 * dec-jan *", 11, "runs backwards"),
        ("1-2-3 * * * *", 3, "'2-3' is not understood"),
        ("1- * * * *", 3, "'' is not understood"),
    ],
)
def test_ranges(text: str, position: int, fragment: str) -> None:
    error = refusal(text)
    assert fragment in str(error)
    assert error.position == position


@pytest.mark.parametrize(
    ("text", "position"), [("1,,2 * * * *", 3), (",1 * * * *", 1), ("1, * * * *", 3), (", * * * *", 1)]
)
def test_empty_list_items(text: str, position: int) -> None:
    error = refusal(text)
    assert "empty list item" in str(error)
    assert error.position == position


@pytest.mark.parametrize(("text", "position"), [("*,1 * * * *", 1), ("1,* * * * *", 3), ("1,2,* * * * *", 5)])
def test_a_star_in_a_list(text: str, position: int) -> None:
    error = refusal(text)
    assert "* stands alone" in str(error)
    assert error.position == position


@pytest.mark.parametrize("text", ["? * * * *", "0 ? * * *", "0 0 * ? *", "0 0 ?/2 * *", "0 0 ?,3 * *", "0 0 * * * ?"])
def test_a_question_mark_is_for_a_whole_day_field_only(text: str) -> None:
    assert "not understood" in str(refusal(text))


@pytest.mark.parametrize(
    ("text", "most"),
    [
        ("*/61 * * * *", 60),
        ("0 */25 * * *", 24),
        ("0 0 */32 * *", 31),
        ("0 0 * */13 *", 12),
        ("0 0 * * */8", 7),
        ("0 0 * * * */131", 130),
        ("0/0 * * * *", 60),
        ("*/ * * * *", 60),
        ("*/x * * * *", 60),
        ("*/-1 * * * *", 60),
        ("1-5/99 * * * *", 60),
        ("1/2/3 * * * *", 60),
    ],
)
def test_a_step_is_at_least_one_and_at_most_the_width_of_the_field(text: str, most: int) -> None:
    assert f"expected a step of 1-{most}" in str(refusal(text))


@pytest.mark.parametrize(
    ("text", "operator", "position"),
    [
        ("0 0 L * *", "L", 5),
        ("0 0 l * *", "L", 5),
        ("0 0 LW * *", "L", 5),
        ("0 0 15W * *", "W", 5),
        ("0 0 1,15w * *", "W", 7),
        ("0 0 * * 5L", "L", 9),
        ("0 0 * * FRIL", "L", 9),
        ("0 0 * * 5#3", "#", 9),
        ("0 0 * * FRI#3", "#", 9),
        ("H * * * *", "H", 1),
        ("0 h/6 * * *", "H", 3),
        ("H(0-29) * * * *", "H", 1),
    ],
)
def test_operators_of_other_dialects_are_named(text: str, operator: str, position: int) -> None:
    error = refusal(text)
    assert f"{operator} is not supported" in str(error)
    assert error.position == position


@pytest.mark.parametrize("text", ["@reboot", "@", "@daily @daily", "@daily 0", "0 0 * * @daily", "@every 1h"])
def test_aliases_are_known_words_and_the_whole_expression(text: str) -> None:
    refusal(text)


@pytest.mark.parametrize("text", ["", "  \t ", "blah", "not a schedule", "Triggered", "triggered now", "CONTINUOUSLY"])
def test_what_is_no_schedule_at_all_is_told_the_forms_there_are(text: str) -> None:
    message = str(refusal(text))
    for form in (
        "`triggered`",
        "`continuously`",
        "`with <duration> interval`",
        "`every <duration>`",
        "cron expression",
    ):
        assert form in message


@pytest.mark.parametrize(
    ("text", "position", "fragment"),
    [
        ("with -1s interval", 6, "must not be negative"),
        ("with bladasdafier", 6, "exactly `with <duration> interval`"),
        ("with", 1, "exactly `with <duration> interval`"),
        ("with 10 s interval", 9, "exactly `with <duration> interval`"),
        ("with 10s intervals", 10, "exactly `with <duration> interval`"),
        ("with NaNs interval", 6, "expected a number with a unit"),
        ("with 10 interval", 6, "expected a number with a unit"),
        ("with 1d interval", 7, "unknown unit 'd'"),
        ("with 1h30x interval", 10, "unknown unit 'x'"),
        ("with - interval", 7, "expected a number with a unit"),
        ("with 9999999h interval", 6, "longer than 292 years"),
    ],
)
def test_intervals(text: str, position: int, fragment: str) -> None:
    error = refusal(text)
    assert fragment in str(error)
    assert error.position == position


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("every", "exactly `every <duration>`"),
        ("every 15 m", "exactly `every <duration>`"),
        ("every 0s", "at least 1s"),
        ("every 0", "at least 1s"),
        ("every -1h", "at least 1s"),
        ("every 0.5s", "whole seconds"),
        ("every 500ms", "unknown unit 'ms'"),
        ("every 366d1s", "at most 366d"),
        ("every 53w", "at most 366d"),
        ("every 15M", "expected a number with a unit"),
    ],
)
def test_periods(text: str, fragment: str) -> None:
    assert fragment in str(refusal(text))


def test_a_text_of_unreasonable_length() -> None:
    assert "longer than 2000 characters" in str(refusal("0 " * 1001))
