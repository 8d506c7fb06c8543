"""All who watch a run, told together: the terminal, the journal in the results folder, and Prometheus."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence

from labelbench_ray.execution.elsewhere import Elsewhere
from labelbench_ray.execution.executor import Embedded
from labelbench_ray.execution.job import TrialJob
from labelbench_ray.execution.journal import Journal, Level
from labelbench_ray.execution.metrics import CACHE_HITS, IMAGES_EMBEDDED, Emitter, Silent, StageMetrics
from labelbench_ray.execution.progress import Event, Watch, duration
from labelbench_ray.execution.terminal import PLAIN_INTERVAL_S, Terminal
from labelbench_ray.features.embedding import EmbedTask
from labelbench_ray.storage.place import Where


class Watchers:
    """Told of everything that happens in one run of a grid."""

    def __init__(self, run: Where, tell: Callable[[str], None]) -> None:
        self.emitter: Emitter = Silent()
        """Set once there is something that can emit."""
        self._journal = Journal(run, tell)
        self._tell = tell

    def tell(self, message: str) -> None:
        """Show a message to the user and keep it."""
        self._journal.message(message)
        self._tell(message)

    def began(self, experiment: str, trials: int, done: int) -> None:
        """The run of a grid begins, of which so many trials are done."""
        self._journal.write("began", experiment=experiment, trials=trials, done=done)

    def found_done(self, trials: int, views: int) -> None:
        """So many trials are not run again, and so many views not embedded again."""
        self.emitter.add(CACHE_HITS, trials, kind="trials")
        self.emitter.add(CACHE_HITS, views, kind="views")

    def embedding(self, tasks: Sequence[EmbedTask], clock: Callable[[], float] = time.monotonic) -> Embedded:
        """Embedding begins. Returns who must be told of every shard's rows; the user is told now and then."""
        total = sum((shard.last - shard.first) * len(task.keys) for task in tasks for shard in task.missing_shards())
        done, began, last = 0, clock(), clock()

        def embedded(rows: int) -> None:
            nonlocal done, last
            self.emitter.add(IMAGES_EMBEDDED, rows)
            done += rows
            if clock() - last >= PLAIN_INTERVAL_S and 0 < done < total:
                last = clock()
                pace = done / (last - began)
                left = duration((total - done) / pace)
                self._tell(f"embed: {done}/{total} rows, {pace:.0f} rows/s, about {left} left")

        return embedded

    def ended(self, state: str, error: str = "") -> None:
        """The run ended so; ``error`` is what kept it from being done."""
        level: Level = "error" if error else "info" if state == "done" else "warning"
        self._journal.write("ended", level, state=state, error=error)

    @contextlib.contextmanager
    def stage(self, title: str, jobs: Sequence[TrialJob], finished: Sequence[int]) -> Iterator[Watch]:
        """A stage: its jobs, and the rounds that the ledger has of each. Yields who must be told of their events."""
        rounds = sum(job.num_rounds for job in jobs) - sum(finished)
        self._journal.write("stage", stage=title, trials=len(jobs), rounds=rounds)
        metrics = StageMetrics(self.emitter, title, jobs, finished)
        elsewhere = Elsewhere(jobs, finished)
        with Terminal(title, trials=len(jobs), rounds=rounds, others=elsewhere.look) as terminal:

            def watch(event: Event) -> None:
                elsewhere.heard(event)
                for watcher in (terminal, self._journal, metrics):
                    watcher(event)

            yield watch
            elsewhere.look(at_the_end=True)
