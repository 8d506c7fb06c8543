"""Commands that show results and bring them in and out: report, export, import, sync, ui."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from labelbench_ray.cli.app import (
    DEFAULT_FEATURES,
    RESULTS,
    Features,
    File,
    Json,
    Results,
    Set,
    app,
    load,
    print_json,
    table,
    tell,
)

Exported = Annotated[str, Parameter(help="Results folder, its s3:// or gs:// address, or a file that `export` wrote.")]


@app.command(group=RESULTS)
def report(
    results: Exported,
    *,
    out: Annotated[Path | None, Parameter(help="Folder for the report. Default: where the results are.")] = None,
    paper: Annotated[
        bool,
        Parameter(help="Also tables as LaTeX and CSV and the curves as PDF, in paper/ beside the page.", negative=""),
    ] = False,
    json_: Json = False,
) -> int:
    """Write the report: one self-contained HTML page, CSV tables and a figure.

    Example: `labelbench report results/quickstart`
    """
    from labelbench_ray.api import grid

    files = grid.report(results, out, paper=paper)
    if json_:
        print_json(asdict(files))
    else:
        print("\n".join(str(path) for path in asdict(files).values()))
        if paper:
            print(f"{files.html.parent / 'paper'}/: tables as .tex and .csv, figures as .pdf")
    return 0


@app.command(group=RESULTS)
def illustrate(
    file: File,
    *,
    set_: Set = None,
    results: Results = None,
    features: Features = DEFAULT_FEATURES,
    seed: Annotated[int | None, Parameter(help="Whose trials are shown. Default: the lowest that has any.")] = None,
    images: Annotated[
        str | None,
        Parameter(help="Of a study of vectors: the data set with their images, as '{name: parquet, path: FILE}'."),
    ] = None,
    json_: Json = False,
) -> int:
    """Draw the pool as a map and what was bought as small images, and write the report with them.

    The report's slider goes from batch to batch. It then holds images of the data: mind their licence before you share
    it. Images are those of the data set, or of `--images`, whose rows must be the same in the same order.

    Example: `labelbench illustrate experiments/quickstart.yaml`
    """
    from labelbench_ray.api import illustrating

    source = None if images is None else illustrating.images_named(images)
    drawn, files = illustrating.illustrate(load(file, set_), results, features, seed=seed, images=source, tell=tell)
    if json_:
        print_json({"pools": [one._asdict() for one in drawn], "report": files.html})
    else:
        print(files.html)
    return 0


@app.command(group=RESULTS)
def export(
    results: Exported,
    file: Annotated[Path, Parameter(help="File to write: .parquet (a report can be made of it), .csv or .jsonl.")],
    *,
    measure: Annotated[
        list[str] | None,
        Parameter(help="Only this, as split/metric (test/accuracy); may be repeated.", negative=""),
    ] = None,
    json_: Json = False,
) -> int:
    """Write all rows of a results folder to one file, to publish or to read elsewhere.

    Example: `labelbench export results/quickstart quickstart.parquet`
    """
    from labelbench_ray.api import grid

    num_rows = grid.export(results, file, measure or ())
    if json_:
        print_json({"file": file, "rows": num_rows})
    else:
        print(f"{file}: {num_rows:,} rows")
    return 0


@app.command(group=RESULTS)
def compare(
    results: Exported,
    *,
    published: Annotated[str, Parameter(help="Table of LabelBench's paper: table1, table3 to table7.")],
    json_: Json = False,
) -> int:
    """Put the numbers of a study beside those of LabelBench's paper, and say which agree.

    Example: `labelbench compare results/table_04_cifar10 --published table4`
    """
    from labelbench_ray.api import grid
    from labelbench_ray.reporting.published import beside_lines

    beside = grid.compare_with_paper(results, published)
    if json_:
        print_json({"verdict": beside.verdict, "cells": json.loads(beside.cells.to_json(orient="records"))})
    else:
        head, *lines = beside_lines(beside)
        table(head, lines)
        print(f"\n{beside.verdict}")
    return 0


@app.command(name="import", group=RESULTS)
def import_(
    source: Annotated[Literal["labelbench"], Parameter(help="Whose files these are.")],
    folder: Annotated[Path, Parameter(help="Folder with its result files, such as a clone's results/.")],
    *,
    results: Annotated[str, Parameter(help="Results folder to write to.")] = "results/labelbench",
    json_: Json = False,
) -> int:
    """Write the result files of other code into a results folder, so that they are in reports as ours are.

    Pickles are read without running anything that is in them.

    Example: `labelbench import labelbench LabelBench/results`
    """
    from labelbench_ray.api import grid

    num_files = grid.import_labelbench(folder, results)
    if json_:
        print_json({"results": results, "files": num_files})
    else:
        print(f"{results}: {num_files} files; see them with `labelbench report {results}`")
    return 0


@app.command(group=RESULTS)
def sync(file: File, *, set_: Set = None, results: Results = None) -> int:
    """Bring MLflow up to date with the results folder. Doing it twice changes nothing.

    Example: `labelbench sync experiments/quickstart.yaml --set tracking.mlflow=http://localhost:5000`
    """
    from labelbench_ray.api import grid

    print(f"{grid.sync(load(file, set_), results)} trials are in MLflow")
    return 0


@app.command(group=RESULTS)
def ui(
    where: Annotated[str, Parameter(help="Results folder, or the address of an MLflow server.")],
    *,
    host: Annotated[str, Parameter(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, Parameter(help="Port to listen on.", validator=Number(gte=1, lte=65535))] = 5000,
) -> int:
    """Serve a results folder's MLflow pages until Ctrl-C, and print where to look.

    Example: `labelbench ui results/quickstart`
    """
    from labelbench_ray.tracking.ui import serve_ui

    serve_ui(where, host=host, port=port)
    return 0
