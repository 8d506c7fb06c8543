import errno

import pytest

from labelbench_ray.errors import (
    DataError,
    FeatureStoreError,
    GroupLostError,
    LedgerError,
    MemoryExhaustedError,
    TrainingError,
    WorkerLostError,
)
from labelbench_ray.execution.endings import ending_of


def full_disk():
    try:
        try:
            raise OSError(errno.EDQUOT, "Disk quota exceeded")
        except OSError as error:
            raise LedgerError("results/x", "cannot be written (Disk quota exceeded)", "free space") from error
    except LedgerError as error:
        return error


def spoilt_file():
    error = FeatureStoreError("features/x", "cannot be read (Stale file handle)")
    error.__cause__ = OSError(errno.ESTALE, "Stale file handle")
    return error


class OutOfMemoryError(RuntimeError):
    """As torch calls its own."""


@pytest.mark.parametrize(
    ("error", "ended", "final"),
    [
        (TrainingError("linear", "the loss is NaN", "lower it"), "user error", True),
        (DataError("digits", "no rows"), "user error", True),
        (ValueError("a mistake of ours"), "user error", True),
        (OSError(errno.EACCES, "Permission denied"), "user error", True),
        (WorkerLostError("an actor died"), "worker lost", False),
        (GroupLostError("finetune", "the training group failed", "look"), "worker lost", False),
        (MemoryExhaustedError("finetune", "too little", "lower it"), "out of memory", False),
        (OutOfMemoryError("CUDA out of memory"), "out of memory", False),
        (MemoryError("no 8 GiB"), "out of memory", False),
        (full_disk(), "full disk", False),
        (OSError(errno.ENOSPC, "No space left on device"), "full disk", False),
        (OSError(errno.EIO, "Input/output error"), "storage lost", False),
        (spoilt_file(), "storage lost", False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_who_did_it(error, ended, final):
    found = ending_of(error, can_pass_less=True)
    assert (found.ended, found.final) == (ended, final)
    assert str(error) in found.message


def test_an_error_of_the_system_is_told_by_its_file():
    found = ending_of(OSError(errno.EACCES, "Permission denied", "/data/x"), can_pass_less=True)
    assert found.message == "/data/x: Permission denied"


def test_memory_is_final_where_a_pass_cannot_be_smaller():
    assert ending_of(MemoryExhaustedError("linear", "too little", "x"), can_pass_less=False).final
