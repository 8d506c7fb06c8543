"""Every error a user can meet, in one tree.

An error says in one line what is wrong, which value, and what to do. Its arguments are kept and its text comes from
``template``, so that it survives pickling between processes. ``exit_code`` is what the command line ends with.
"""

import errno
from typing import ClassVar

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What disks say that have no space left, or none for this user."""

UNREACHABLE = frozenset(
    getattr(errno, name)
    for name in (
        "EIO", "ESTALE", "EREMOTEIO", "ENOTCONN", "ETIMEDOUT", "ENETDOWN", "ENETUNREACH", "EHOSTDOWN", "EHOSTUNREACH",
    )
    if hasattr(errno, name)
)  # fmt: skip
"""What disks and network file systems say that do not answer now and may later: what was asked is not at fault."""


class LabelBenchError(Exception):
    """Base of all errors raised on purpose."""

    template: ClassVar[str] = "{0}"
    exit_code: ClassVar[int] = 2

    def __str__(self) -> str:
        # What libraries say, and is passed on in an argument, may have many lines.
        return " ".join(line.strip() for line in self.template.format(*self.args).splitlines())


class SpecError(LabelBenchError):
    """The experiment file or an override is wrong."""

    template = "{0}: {1}"


class UnknownNameError(LabelBenchError):
    """A name that no table knows: (kind, name, suggestion text)."""

    template = "unknown {0} {1!r}.{2} Run `labelbench list {0}` to see all."


class UnknownKindError(LabelBenchError):
    """A kind of thing that there is no table of: (kind, suggestion text, known kinds)."""

    template = "there is no table of {0!r}.{1} Kinds: {2}."


class UnknownKeyError(LabelBenchError):
    """A key that the part does not have: (where, key, suggestion text, known keys)."""

    template = "{0}: unknown key {1!r}.{2} Known keys: {3}."


class UnknownTrialError(LabelBenchError):
    """A trial that a results folder does not have, or has several of: (folder, what was asked, what to ask instead)."""

    template = "results {0}: which trial is {1!r}?{2} Run `labelbench status {0} --all` to see all."


class DuplicateNameError(LabelBenchError):
    """Two plug-ins under one name."""

    template = "{0} {1!r} is registered twice ({2} and {3}); rename one"


class DataError(LabelBenchError):
    """A data set that cannot be used as it is: (data set, what is wrong and what to do)."""

    template = "dataset {0}: {1}"


class LabelsError(LabelBenchError):
    """Labels that a user brings and that do not fit the pool: (file, what is wrong and what to do)."""

    template = "labels {0}: {1}"


class UndecodableImageError(LabelBenchError):
    """An image that cannot be decoded: (data set, split, id, source, reason)."""

    template = "dataset {0}: image {2} of {1} ({3}) cannot be decoded: {4}; replace it or set `on_undecodable: skip`"


class WeightsError(LabelBenchError):
    """Encoder weights that are missing or do not fit: (encoder, what is wrong and what to do)."""

    template = "encoder {0}: {1}"


class FeatureStoreError(LabelBenchError):
    """A feature shard that is missing, cut short or altered: (file, what is wrong and what to do)."""

    template = "features {0}: {1}"
    exit_code = 3


class BudgetExceededError(LabelBenchError):
    """The oracle was asked for more than is left: (asked, left, budget)."""

    template = "asked for {0} labels, {1} left of {2}; lower `labels_per_round` or raise the budget"


class AlreadyLabeledError(LabelBenchError):
    """An id was bought twice."""

    template = "example {0} is labelled already; a strategy may not buy an id twice"


class SelectionError(LabelBenchError):
    """A strategy did not keep its contract, or was given what it cannot use: (strategy, what)."""

    template = "strategy {0}: {1}"


class WorkerLostError(LabelBenchError):
    """A worker of a selection died: (what is known of it). The round is tried again."""

    template = "a selection worker was lost ({0}); if this goes on, lower `selection.memory_gib` or use larger nodes"
    exit_code = 3


class TrainingError(LabelBenchError):
    """Training cannot start or went wrong: (trainer, what, what to do)."""

    template = "trainer {0}: {1}; {2}"


class MemoryExhaustedError(TrainingError):
    """A training step does not fit into the device's memory."""


class GroupLostError(TrainingError):
    """A group of training workers died, again and again. The trial is tried again."""


class LedgerError(LabelBenchError):
    """The results folder cannot be read or written: (path, what, what to do)."""

    template = "results {0}: {1}; {2}"
    exit_code = 3


class NoResultsError(LabelBenchError):
    """A place that no run wrote was given as results: (place, what is there, suggestion text)."""

    template = "results {0}: {1}.{2} Give the folder that `labelbench run` wrote."


class NoBundleError(NoResultsError):
    """A place that holds no published bundle was given as one: (place, what is there)."""

    template = "bundle {0}: {1}; give the folder that `labelbench publish` wrote"


class StorageError(LabelBenchError):
    """An object store cannot be used: (address, what, what to do)."""

    template = "storage {0}: {1}; {2}"
    exit_code = 3


class TrialLockedError(LabelBenchError):
    """Another process works on this trial: (trial, which)."""

    template = "trial {0} is being run by {1}; wait for it or stop it"
    exit_code = 3


class LeaseLostError(LabelBenchError):
    """A trial was taken over while this process was silent: (trial)."""

    template = "trial {0} was taken over by another process while this one did not answer; nothing was written"
    exit_code = 3


class UnschedulableError(LabelBenchError):
    """The grid can never be scheduled: (what one unit asks, what the largest node has, what to do)."""

    template = "this grid can never be scheduled: {0}, but {1}; {2}"
    exit_code = 3


class PlatformError(LabelBenchError):
    """The machine or cluster is not as needed: (what, what to do)."""

    template = "{0}; {1}"
    exit_code = 3


class TrackingError(LabelBenchError):
    """The tracking server cannot be used: (address, reason). Never ends a run; `labelbench sync` fills it later."""

    template = "tracking {0}: {1}; results are safe, run `labelbench sync` when it is back"
    exit_code = 3
