import io
import json

import pytest

from agentrt.batch import Job, Outcome, ResultsFile, ResultsStream, Task, jobs
from agentrt.errors import ConfigError
from agentrt.types import Usage

JOBS = jobs([Task(1, "a"), Task("two", "b", meta={"gold": 2}), Task(3, "c")], "batch")


def done(job: Job, text: str = "yes") -> Outcome:
    return Outcome(job.session, "done", text, 2, 1, Usage(10, 2, 0, 0.5), 1.23456)


def failed(job: Job) -> Outcome:
    return Outcome(job.session, "failed", error="the engine is away")


def ids(path):
    return [json.loads(line)["id"] for line in path.read_text().splitlines()]


def written(path, *outcomes, ended=(), ordered=False, whole=True):
    results = ResultsFile(path, ordered=ordered)
    there = results.begin(JOBS, frozenset(ended))
    for job, found in outcomes:
        results.add(job, found)
    results.end(whole=whole)
    return there


def test_a_result_is_a_line_with_all_there_is_to_know(tmp_path):
    path = tmp_path / "r.jsonl"
    written(path, (JOBS[1], done(JOBS[1])), (JOBS[0], failed(JOBS[0])))
    usage = {"prompt_tokens": 10, "completion_tokens": 2, "cached_tokens": 0, "cost": 0.5}
    nothing = {"prompt_tokens": 0, "completion_tokens": 0, "cached_tokens": 0, "cost": None}
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {
            "id": "two", "reason": "done", "text": "yes", "turns": 2, "calls": 1, "usage": usage, "seconds": 1.235,
            "session": JOBS[1].session, "meta": {"gold": 2},
        },
        {
            "id": 1, "reason": "failed", "text": "", "error": "the engine is away", "turns": 0, "calls": 0,
            "usage": nothing, "seconds": 0.0, "session": JOBS[0].session,
        },
    ]  # fmt: skip


def test_a_later_run_keeps_what_ended_and_writes_again_what_failed(tmp_path):
    path = tmp_path / "r.jsonl"
    written(path, (JOBS[1], done(JOBS[1])), (JOBS[0], failed(JOBS[0])))
    there = written(path, (JOBS[0], done(JOBS[0])), ended=[JOBS[1].session])
    assert there == {JOBS[1].session: "done"}
    assert ids(path) == ["two", 1]


def test_half_a_line_of_a_run_that_was_killed_is_dropped(tmp_path):
    path = tmp_path / "r.jsonl"
    written(path, (JOBS[0], done(JOBS[0])))
    with path.open("a") as file:
        file.write('{"id": "two", "reas')
    written(path, (JOBS[1], done(JOBS[1])), ended=[JOBS[0].session])
    assert ids(path) == [1, "two"]


def test_a_result_whose_session_is_not_in_the_store_is_dropped(tmp_path):
    path = tmp_path / "r.jsonl"
    written(path, (JOBS[0], done(JOBS[0])))
    assert written(path, ended=[]) == {}
    assert ids(path) == []


def test_the_result_of_a_changed_task_is_replaced_and_that_of_a_removed_one_stays(tmp_path):
    path = tmp_path / "r.jsonl"
    changed, removed = jobs([Task(1, "a, in another way"), Task(99, "gone")], "batch")
    written(path, (changed, done(changed)), (removed, done(removed)))
    written(path, (JOBS[0], done(JOBS[0])), ended=[changed.session, removed.session])
    assert ids(path) == [99, 1]


def test_ordered_sorts_as_the_tasks_are_once_the_batch_is_over(tmp_path):
    path = tmp_path / "r.jsonl"
    came = [(job, done(job)) for job in reversed(JOBS)]
    written(path, *came, ordered=True, whole=False)
    assert ids(path) == [3, "two", 1]
    written(path, ordered=True, ended=[job.session for job in JOBS])
    assert ids(path) == [1, "two", 3]


@pytest.mark.parametrize("text", ["my notes\n", '{"id": 1}\n', "[]\n", "\n"])
def test_a_file_that_is_something_else_is_left_alone(tmp_path, text):
    path = tmp_path / "r.jsonl"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"r\.jsonl:1 is no result of a batch, so nothing is written there"):
        written(path)
    assert path.read_text() == text


def test_the_results_of_another_batch_are_left_alone(tmp_path):
    path = tmp_path / "r.jsonl"
    (other,) = jobs([Task(1, "a")], "other")
    written_by = ResultsFile(path)
    written_by.begin([other], frozenset())
    written_by.add(other, done(other))
    written_by.end(whole=True)
    with pytest.raises(ConfigError, match="has results of another batch"):
        written(path)
    assert ids(path) == [1]


def test_a_place_where_nothing_can_be_written_is_the_users_mistake(tmp_path):
    with pytest.raises(ConfigError, match="can't be written to .*: No such file"):
        written(tmp_path / "no" / "r.jsonl")
    with pytest.raises(ConfigError, match="can't be read: Is a directory"):
        written(tmp_path)


@pytest.mark.parametrize(("ordered", "expected"), [(False, [3, "two", 1]), (True, [1, "two", 3])])
def test_a_stream_gets_results_as_they_come_or_sorted_at_the_end(ordered, expected):
    stream = io.StringIO()
    results = ResultsStream(stream, ordered=ordered)
    assert results.begin(JOBS, frozenset()) == {}
    for job in reversed(JOBS):
        results.add(job, done(job))
    results.end(whole=True)
    assert [json.loads(line)["id"] for line in stream.getvalue().splitlines()] == expected
