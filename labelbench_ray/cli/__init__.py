"""The command line: parses, calls the api, prints. Data goes to stdout, messages to stderr.

Exit codes: 0 ok, 1 some trials failed or a data set has problems, 2 usage, 3 environment, 130 interrupted.
"""

import sys
import traceback

from cyclopts import CycloptsError

from labelbench_ray.cli import features, lookup, plan, publishing, results, selecting, study, validating, watching
from labelbench_ray.cli.app import app
from labelbench_ray.cli.mistakes import in_words
from labelbench_ray.errors import LabelBenchError

__all__ = [
    "app",
    "features",
    "lookup",
    "main",
    "plan",
    "publishing",
    "results",
    "selecting",
    "study",
    "validating",
    "watching",
]


def main(arguments: list[str] | None = None) -> None:
    """Entry point: user errors end in one line and their exit code; ``--debug`` shows the trace."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    try:
        code = app(words, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        print(f"error: {in_words(app, error)}", file=sys.stderr)
        code = 2
    except LabelBenchError as error:
        if debug:
            traceback.print_exc()
        print(f"error: {error}", file=sys.stderr)
        code = error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = 130
    except BrokenPipeError:
        sys.stderr.close()
        code = 0
    except OSError as error:  # nobody on the way knew what it means: at least it says which file and what
        if debug:
            traceback.print_exc()
        print(f"error: {_of_the_system(error)}", file=sys.stderr)
        code = 3
    raise SystemExit(code if isinstance(code, int) else 0)


def _of_the_system(error: OSError) -> str:
    told = f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
    return f"{' '.join(told.split())}; look at that disk, server or right, `--debug` shows what asked for it"
