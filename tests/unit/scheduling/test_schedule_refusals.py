"""What is no schedule, and how the answer says where and what is expected."""

from __future__ import annotations

import pytest

from ostinato.scheduling.schedule import CronTerms, ScheduleError, parse_schedule


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
    ("text", "position", "fragment"),
    [
        ("L * * * *", 1, "'L' is not understood, expected 0-59"),
        ("0 0 * L *", 7, "'L' is not understood, expected 1-12"),
        ("0 0 * * L", 9, "L follows a weekday here, as in 5L"),
        ("0 0 * * 15W", 9, "'15W' is not understood, expected 0-7"),
        ("0 0 FRIL * *", 5, "'FRIL' is not understood, expected 1-31"),
        ("0 0 5#3 * *", 5, "'5#3' is not understood, expected 1-31"),
        ("0 0 1,32W * *", 7, "day of month (field 3, column 7): 32 is out of range, expected 1-31"),
        ("0 0 0W * *", 5, "0 is out of range"),
        ("0 0 W * *", 5, "'W' is not understood"),
        ("0 0 WL * *", 5, "'WL' is not understood"),
        ("0 0 L-3 * *", 5, "'L' is not understood"),
        ("0 0 1W-5W * *", 5, "'1W' is not understood"),
        ("0 0 L/2 * *", 5, "'L' is not understood"),
        ("0 0 * * 8L", 9, "8 is out of range, expected 0-7"),
        ("0 0 * * xL", 9, "'xL' is not understood"),
        ("0 0 * * 1-5L", 11, "'5L' is not understood"),
        ("0 0 * * mon,5#6", 15, "expected which one of the month, 1-5, not '6'"),
        ("0 0 * * 5#0", 11, "1-5, not '0'"),
        ("0 0 * * 5#", 11, "1-5, not ''"),
        ("0 0 * * 5#1#2", 11, "1-5, not '1#2'"),
        ("0 0 * * #3", 9, "'' is not understood"),
        ("0 0 * * 9#3", 9, "9 is out of range"),
    ],
)
def test_operators_of_the_day_fields(text: str, position: int, fragment: str) -> None:
    error = refusal(text)
    assert fragment in str(error)
    assert error.position == position


@pytest.mark.parametrize(
    ("text", "position", "fragment"),
    [
        ("H * * * * H", 11, "H is not for the year"),
        ("H(1) * * * *", 1, "expected H, H/n, H(a-b) or H(a-b)/n, not 'H(1)'"),
        ("H() * * * *", 1, "not 'H()'"),
        ("H(0-60) * * * *", 5, "60 is out of range, expected 0-59"),
        ("H(9-3) * * * *", 5, "runs backwards, expected at least 9"),
        ("H(x-3) * * * *", 3, "'x' is not understood"),
        ("H(0-9)/11 * * * *", 8, "expected a step of 1-10, not 11"),
        ("0 0 H/29 * *", 7, "expected a step of 1-28, not 29"),
        ("H/0 * * * *", 3, "expected a step of 1-60"),
        ("0 0 * * H(1-5", 9, "'H(1' is not understood"),
        ("H-5 * * * *", 1, "'H' is not understood"),
    ],
)
def test_hashes(text: str, position: int, fragment: str) -> None:
    with pytest.raises(ScheduleError) as caught:
        parse_schedule(text, CronTerms(job_name="projects/p/jobs/j"))
    assert fragment in str(caught.value)
    assert caught.value.position == position


def test_a_hash_without_a_job_is_refused() -> None:
    assert "follows from the name of a job" in str(refusal("0 H * * *"))


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
