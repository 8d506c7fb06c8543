"""The report as one HTML page that needs nothing else: no network, no files, no storage, no links."""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labelbench_ray.benchmark.results import SCHEMA_VERSION
from labelbench_ray.reporting import summary
from labelbench_ray.reporting.acquisition import acquisition_tables, chosen
from labelbench_ray.reporting.cells import Cell, Table
from labelbench_ray.reporting.class_figure import class_figure
from labelbench_ray.reporting.class_table import class_tables
from labelbench_ray.reporting.collapses import collapse_table
from labelbench_ray.reporting.comparisons import COLUMNS, Comparison, Evidence, TrialRecord
from labelbench_ray.reporting.evaluations import end_to_end, unmatched
from labelbench_ray.reporting.figures import Data, cost_curves, end_to_end_curves, learning_curves
from labelbench_ray.reporting.gap_tables import gap_tables, ranking_sentence
from labelbench_ray.reporting.measures import listed, readable
from labelbench_ray.reporting.paired_tests import table_of_tests
from labelbench_ray.reporting.penalties import penalty_table
from labelbench_ray.reporting.pictures import Picture
from labelbench_ray.reporting.pool_map import map_figure, picture_of, pool_data
from labelbench_ray.reporting.rank_diagram import as_svg, rank_diagram
from labelbench_ray.reporting.rankings import rank_table, stability_table
from labelbench_ray.reporting.savings import savings_table
from labelbench_ray.reporting.statistics import Compared, final_statistics
from labelbench_ray.reporting.styles import Style, series_styles
from labelbench_ray.reporting.tables import (
    best_cells,
    final_tables,
    glance_table,
    timings_table,
    unfinished_table,
)

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Section:
    """One comparison as the page shows it."""

    title: str
    parts: Mapping[str, str]
    verdict: str
    conclusive: bool | None
    warnings: list[str]
    best: tuple[Cell, ...]
    """Its line in the table of all comparisons."""
    figure: Data
    tables: list[Table]
    savings: Table | None
    classes: Data | None
    """Its figure of the classes that were bought."""
    map: Data | None
    """Its map of the pool, where there is one."""
    acquisition: list[Table]
    cost: Data | None
    """Its curves over seconds."""
    timings: Table | None
    spec: str


@dataclass(frozen=True)
class EvaluationSection:
    """One end-to-end trainer on the sets of one comparison."""

    title: str
    figure: Data | None
    verdict: str
    tables: list[Table]


def render(evidence: Evidence, pictures: Mapping[str, Picture] | None = None) -> str:
    """The page, with the pictures of its pools if they were drawn. The same evidence gives the same bytes."""
    import jinja2
    from plotly.offline import get_plotlyjs

    styles = series_styles(
        {name for comparison in evidence.comparisons for name in comparison.series},
        {name for comparison in evidence.comparisons for name in comparison.cheats},
    )
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pictures = pictures or {}
    sections = [_section(evidence, comparison, styles, pictures) for comparison in evidence.comparisons]
    evaluations = _evaluation_sections(evidence, styles)
    return environment.get_template("report.html.jinja").render(
        title=summary.title(evidence),
        experiments=listed(_experiments(evidence.trials)),
        overview=summary.overview(evidence),
        tally=summary.tally([section.conclusive for section in sections]) if len(sections) > 1 else "",
        glance=glance_table([(section.title, section.best) for section in sections]) if len(sections) > 1 else None,
        ranks=as_svg(ranks) if (ranks := rank_diagram(evidence)) else "",
        across=[table for table in (rank_table(evidence), penalty_table(evidence)) if table],
        sections=sections,
        evaluations=evaluations,
        unmatched=unmatched(evidence),
        unfinished=unfinished_table(evidence),
        provenance=provenance(evidence),
        styles=styles,
        figures=_numbered(
            [
                *(figure for part in sections for figure in (part.figure, part.classes, part.map, part.cost)),
                *(part.figure for part in evaluations),
            ]
        ),
        pools={name: pool_data(pictures[name]) for name in _pools_shown(sections)},
        css=(TEMPLATES / "report.css").read_text(),
        script=(TEMPLATES / "report.js").read_text(),
        plotly=get_plotlyjs(),
    )


def _numbered(figures: list[Data | None]) -> list[Data]:
    """Those that there are, each knowing its place: elements of the page name their figure by it."""
    found = [figure for figure in figures if figure is not None]
    for index, figure in enumerate(found):
        figure["index"] = index
    return found


def _pools_shown(sections: list[Section]) -> list[str]:
    return sorted({section.map["pool"] for section in sections if section.map})


def provenance(evidence: Evidence) -> dict[str, str]:
    """What the numbers were made with, from the rows and the trials' descriptions; several values are all named."""
    states = [record.status.state or "not started" for record in evidence.trials]
    facts = {
        "Trials": f"{len(states)}: " + listed([f"{states.count(state)} {state}" for state in sorted(set(states))]),
        "Rows": f"{len(evidence.rows):,} (schema {SCHEMA_VERSION})",
        "Seeds": listed([str(seed) for seed in sorted(evidence.rows["seed"].unique())]),
        "Numeric class": listed(sorted(evidence.rows["numeric_class"].unique())),
    }
    for key, name in (("machine", "Machines"), ("versions", "Versions")):
        told = _told(evidence.trials, key)
        if told:
            facts[name] = " · ".join(f"{what} {' or '.join(sorted(values))}" for what, values in sorted(told.items()))
    return facts


def _section(
    evidence: Evidence, comparison: Comparison, styles: Mapping[str, Style], pictures: Mapping[str, Picture]
) -> Section:
    compared, bought = final_statistics(comparison), chosen(evidence, comparison)
    drawn = picture_of(evidence, comparison, pictures)
    return Section(
        title=_heading(evidence, comparison),
        parts=comparison.columns,
        verdict=summary.verdict(comparison, compared),
        conclusive=summary.conclusive(comparison, compared),
        warnings=summary.warnings(comparison),
        best=best_cells(comparison, compared),
        figure=learning_curves(comparison, styles),
        tables=_tables(comparison, compared),
        savings=savings_table(comparison),
        classes=class_figure(comparison, bought, drawn[1].class_names if drawn else ()),
        map=map_figure(evidence, comparison, *drawn) if drawn else None,
        acquisition=acquisition_tables(comparison, bought),
        cost=cost_curves(comparison, styles),
        timings=timings_table(comparison),
        spec=_spec(evidence, comparison),
    )


def _tables(comparison: Comparison, compared: Compared) -> list[Table]:
    found = (table_of_tests(comparison), stability_table(comparison), collapse_table(comparison))
    return [*final_tables(comparison, compared), *(table for table in found if table), *class_tables(comparison)]


def _evaluation_sections(evidence: Evidence, styles: Mapping[str, Style]) -> list[EvaluationSection]:
    found: list[EvaluationSection] = []
    for evaluation in end_to_end(evidence):
        title = f"{_heading(evidence, evaluation.comparison)}: scored by {evaluation.trainer}"
        figure, tables = end_to_end_curves(evaluation, styles), gap_tables(evaluation)
        found.append(EvaluationSection(title, figure, ranking_sentence(evaluation), tables))
    return found


def _heading(evidence: Evidence, comparison: Comparison) -> str:
    """The data set, and of the rest what tells this comparison from the others."""
    varying = [column for column in COLUMNS[1:] if len({other.columns[column] for other in evidence.comparisons}) > 1]
    parts = [comparison.columns["dataset"], *(comparison.columns[column] for column in varying)]
    return " · ".join([*map(readable, parts), *([f"setting {comparison.setting}"] if comparison.setting else [])])


def _spec(evidence: Evidence, comparison: Comparison) -> str:
    """What the trials share and how the strategies are set, as JSON; empty when the ledger does not describe them."""
    ids = set(comparison.rows["trial"])
    told = [record.identity for record in evidence.trials if record.trial in ids and record.identity]
    if not told:
        return ""
    shared = {key: value for key, value in told[0].items() if key not in ("strategy", "seed")}
    strategies = {json.dumps(identity.get("strategy"), sort_keys=True): None for identity in told}
    return json.dumps({**shared, "strategies": [json.loads(text) for text in sorted(strategies)]}, indent=2)


def _experiments(trials: tuple[TrialRecord, ...]) -> list[str]:
    return sorted({str(record.description["experiment"]) for record in trials if "experiment" in record.description})


def _told(trials: tuple[TrialRecord, ...], key: str) -> dict[str, set[str]]:
    """All values that the descriptions give to each entry of a section."""
    sections: list[Any] = [record.description.get(key) for record in trials]
    entries = [entry for section in sections if isinstance(section, Mapping) for entry in section.items()]
    return functools.reduce(
        lambda found, entry: {**found, entry[0]: found.get(entry[0], set()) | {str(entry[1])}}, entries, {}
    )
