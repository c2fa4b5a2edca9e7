"""What a command works on: the task or the run folder that its first argument leads to."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thalweg.errors import FolderError, UsageError

if TYPE_CHECKING:
    from thalweg.diagnose.finding import Finding
    from thalweg.task import Task

__all__ = ["Source", "check_writable", "find", "remark_unused_task", "save_finding", "seeded"]


@dataclass(frozen=True)
class Source:
    """A Task, or the path of a run folder and the Task that goes with it, if there is one."""

    task: "Task | None"
    run: Path | None = None
    unused: str | None = None
    """The task reference in run.toml, where it was not asked to be loaded."""

    @property
    def given(self) -> "Task | Path":
        """What the library takes as its first argument."""
        found = self.task if self.run is None else self.run
        assert found is not None
        return found

    @property
    def beside(self) -> dict[str, Any]:
        """What it takes beside it, by name."""
        return {} if self.run is None or self.task is None else {"task": self.task}


def find(text: str, *, task: str | None = None, own_task: bool = False) -> Source:
    """Follow a reference; the code of a task is run, that of a run folder only where asked for.

    Args:
        text: a reference to a task, or the path of a run folder.
        task: the reference of the task that goes with a run folder.
        own_task: load the task that the run folder itself names.

    Raises:
        ReferenceError: it leads nowhere.
        UsageError: a task beside a task, or two beside a run folder.
    """
    from thalweg.record.folder import RunFolder
    from thalweg.reference import load_task, resolve

    if task is not None and own_task:
        raise UsageError("--task and --own-task must not both be given")
    found = resolve(text)
    if not isinstance(found, Path):
        if task is not None or own_task:
            option = "--own-task" if task is None else "--task"
            raise UsageError(f"{option} must go with a run folder, but {text} is a task by itself")
        return Source(found)
    named = RunFolder.open(found).task_reference
    if own_task and named is None:
        raise UsageError(
            f"--own-task must find a task in {found}/run.toml, but none is named there"
        )
    if own_task:
        task = named
    if task is None:
        return Source(None, found, named)
    return Source(load_task(task), found)


@contextmanager
def seeded(seed: int = 0, *, threads: int | None = None) -> Iterator[None]:
    """The global random states as this seed gives them.

    A diagnosis goes on from the random state of whoever asks for it. A new process has a random
    one, so that the program would not answer the same twice. ``threads`` are torch's meanwhile:
    models as small as the clinic's lose by sharing, on a busy machine to a tenth of their speed.
    """
    import torch

    from thalweg.run.random_state import RandomState

    before, shared = RandomState.now(), torch.get_num_threads()
    RandomState.of_seed(seed).restore()
    torch.set_num_threads(threads or shared)
    try:
        yield
    finally:
        torch.set_num_threads(shared)
        before.restore()


def remark_unused_task(source: Source) -> str | None:
    """What to tell whoever gave a run folder whose task was not loaded."""
    if source.unused is None:
        return None
    return (
        f"{source.run} names its task, {source.unused}, which was not loaded since that runs code: "
        "--own-task does"
    )


def check_writable(path: Path | None, option: str = "--report") -> None:
    """Refuse a file that could not be written, before much time is spent on what it will say."""
    if path is None:
        return
    if os.path.isdir(path):
        raise FolderError(f"{option} must be a file, but {path} is a folder")
    folder = path.parent
    if not os.path.isdir(folder):
        raise FolderError(f"{option} must be in a folder that exists, but {folder} does not")
    if not os.access(folder, os.W_OK):
        raise FolderError(f"{option} must be in a folder that can be written, but {folder} cannot")


def save_finding(finding: "Finding", run: Path) -> str | None:
    """Put finding.json into the run folder; why it could not be done, if it could not."""
    import json

    from thalweg.record.folder import RunFolder

    try:
        RunFolder.open(run).write("finding.json", json.dumps(finding.to_dict(), indent=1))
    except OSError as error:
        return f"finding.json could not be written into {run}: {error.strerror}"
    return None
