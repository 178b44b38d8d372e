import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrt.batch import Task, batch_name, jobs, read_tasks
from agentrt.errors import ConfigError


def write(folder: Path, *lines: object) -> Path:
    path = folder / "tasks.jsonl"
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return path


def test_a_line_is_a_task_with_an_id_instructions_and_whatever_is_its_owners(tmp_path):
    path = write(
        tmp_path,
        {"id": 7, "task": "count", "instructions": "be brief", "meta": {"gold": [1, 2]}},
        "",
        {"id": "b", "task": "sum"},
    )
    assert read_tasks(path) == [Task(7, "count", "be brief", {"gold": [1, 2]}), Task("b", "sum")]


def test_a_file_may_begin_with_a_byte_order_mark_and_end_without_a_newline(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"id": 1, "task": "a"}\r\n{"id": 2, "task": "b"}')
    assert [task.id for task in read_tasks(path)] == [1, 2]


def test_a_task_without_an_id_gets_one_that_stays_when_the_lines_move(tmp_path):
    first = read_tasks(write(tmp_path, {"task": "a"}, {"task": "b"}, {"task": "a"}))
    moved = read_tasks(write(tmp_path, {"task": "new"}, {"task": "b"}, {"task": "a"}, {"task": "a"}))
    assert len({task.id for task in first}) == 3
    assert {task.id for task in first} < {task.id for task in moved}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "it is not JSON (Expecting property name enclosed in double quotes at character 2)"),
        ("[1]", "it must be a JSON object"),
        ('{"id": 1}', "'task' must be a text that says what to do"),
        ('{"task": "  "}', "'task' must be a text that says what to do"),
        ('{"task": "a", "instruction": "b"}', "'instruction' is not known: did you mean 'instructions'?"),
        ('{"task": "a", "gold": 5}', "'gold' is not known: put what is your own under 'meta'"),
        ('{"task": "a", "id": true}', "'id' must be a text or a whole number"),
        ('{"task": "a", "id": ""}', "'id' must be a text or a whole number"),
        ('{"task": "a", "id": 1.5}', "'id' must be a text or a whole number"),
        ('{"task": "a", "instructions": 1}', "'instructions' must be a text"),
        ('{"task": "a", "meta": NaN}', "NaN is no number in JSON"),
        ('{"task": "a", "id": "1"}', "the id '1' is already that of line 1"),
        ("[" * 100_000, "it is nested too deep"),
    ],
)
def test_a_bad_line_is_named_with_file_and_line(tmp_path, line, problem):
    path = write(tmp_path, {"id": 1, "task": "good"}, line)
    with pytest.raises(ConfigError) as raised:
        read_tasks(path)
    assert str(raised.value).startswith(f"{path}:2: {problem}")


def test_bytes_that_are_no_text_are_named_too(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_bytes(b'{"task": "\xff"}\n')
    with pytest.raises(ConfigError, match=r"t\.jsonl:1: it is not UTF-8"):
        read_tasks(path)


def test_all_bad_lines_are_named_at_once_but_not_thousands(tmp_path):
    path = write(tmp_path, *["x"] * 30)
    with pytest.raises(ConfigError) as raised:
        read_tasks(path)
    lines = str(raised.value).splitlines()
    assert [line.split(":")[1] for line in lines[:20]] == [str(number) for number in range(1, 21)]
    assert lines[20:] == ["and 10 more lines"]


def test_a_file_that_is_missing_or_empty_is_said_to_be(tmp_path):
    with pytest.raises(ConfigError, match="can't be read from .*: No such file"):
        read_tasks(tmp_path / "none.jsonl")
    with pytest.raises(ConfigError, match="has no tasks: write one JSON object a line"):
        read_tasks(write(tmp_path, "", "  "))


def test_the_name_of_a_batch_is_that_of_its_file_wherever_one_stands(tmp_path, monkeypatch):
    path = write(tmp_path, {"task": "a"})
    absolute = batch_name(path)
    monkeypatch.chdir(tmp_path)
    assert batch_name(Path("tasks.jsonl")) == absolute
    assert absolute.startswith("tasks-")
    assert batch_name(Path("other.jsonl")) != absolute


TASKS = st.builds(Task, st.text(min_size=1) | st.integers(), st.text(min_size=1), st.none() | st.text())


@given(st.lists(TASKS, unique_by=lambda task: str(task.id)), st.randoms())
def test_the_session_of_a_task_depends_on_what_it_says_and_not_on_its_place(tasks, chance):
    before = {job.task: job.session for job in jobs(tasks, "b")}
    chance.shuffle(tasks)
    assert {job.task: job.session for job in jobs(tasks, "b")} == before
    assert len(set(before.values())) == len(tasks)
    assert all(session.startswith("b-") and session.isascii() for session in before.values())


def test_a_task_that_was_changed_or_is_of_another_batch_has_another_session():
    (one,) = jobs([Task(1, "a")], "b")
    others = [jobs([Task(1, "a!")], "b"), jobs([Task(1, "a", "do")], "b"), jobs([Task(1, "a")], "c")]
    assert one.session not in [other[0].session for other in others]
    assert jobs([Task(1, "a", meta="x")], "b")[0].session == one.session
