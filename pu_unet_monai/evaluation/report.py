"""The report of an evaluation: one HTML file that needs nothing else, and the same as JSON and Markdown."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment
from markupsafe import Markup
from matplotlib.figure import Figure
from PIL import Image

from pu_unet_monai.evaluation.pictures import NOTICE, Example, curves, outlines
from pu_unet_monai.evaluation.scores import (
    FALSE_ALARM,
    Row,
    cases_text,
    dice_columns,
    key_scores,
    metrics_of,
    scores_of,
    summarise,
)
from pu_unet_monai.evaluation.tables import markdown_table, write_results
from pu_unet_monai.files import ANY_NAME, atomic_path

__all__ = ["Evaluation", "write_report"]

LOW = 0.5
"""A case whose Dice is lower counts as failed."""
_SHOWN = 8
"""Cases of a gallery."""
_READING = (
    "Means over cases with 95 % intervals, which say how a mean would vary with other cases of this kind, not with "
    "another training: by bootstrap (2,000 resamples), of a false positive rate exact. Cases of one group of the "
    "datalist (a patient, a scene) are resampled together, as they are not independent. Dice and IoU do not exist "
    "where the truth is empty; such cases count in the false positive rate alone. Surface distances do not exist where "
    "the truth or the prediction is empty: a structure that was missed altogether does not make them worse, but its "
    "Dice 0. Scores with _grid are on the network's grid, others at the image's own size."
)


@dataclass(frozen=True)
class Evaluation:
    """What a report is made from.

    Args:
        title: what stands above it.
        rows: the rows of ``scores.csv``.
        examples: small pictures of the cases, by name; of those that are missing there is none.
        epochs: the rows of the training's ``epochs.csv``, if it is known.
        made_with: weights, data, settings and machine, as names and values.
    """

    title: str
    rows: Sequence[Row]
    examples: Mapping[str, Example]
    epochs: Sequence[Row]
    made_with: Mapping[str, Any]

    @property
    def key_name(self) -> str:
        """What the score is called by which cases are ranked."""
        return "dice" if len(dice_columns(self.rows)) < 2 else "mean dice of the regions"

    @property
    def failed(self) -> dict[str, str]:
        """What is wrong with cases that failed, worst first: a Dice under 0.5, or a lesion seen where none is."""
        found: dict[str, list[str]] = {}
        for case, score in sorted(key_scores(self.rows).items(), key=lambda item: item[1]):
            if score < LOW:
                found[case] = [f"{self.key_name} {score:.3f}"]
        for metric in metrics_of(self.rows):
            if metric.startswith(FALSE_ALARM):
                what = metric.removeprefix(FALSE_ALARM).lstrip("_") or "a lesion"
                for case in [case for case, score in scores_of(self.rows, metric).items() if score]:
                    found.setdefault(case, []).append(f"{what} seen where none is")
        return {case: "; ".join(reasons) for case, reasons in found.items()}


def write_report(evaluation: Evaluation, folder: Path) -> None:
    """Write ``report.html``, ``report.json`` and ``report.md``.

    Args:
        evaluation: what was found.
        folder: where to.
    """
    summary = summarise(evaluation.rows)
    results = {
        "notice": NOTICE,
        "title": evaluation.title,
        "made_with": dict(evaluation.made_with),
        "scores": summary,
        "failed": evaluation.failed,
    }
    write_results(results, _markdown(evaluation, summary), folder / "report")
    with atomic_path(folder / "report.html") as path:
        path.write_text(_html(evaluation, summary), encoding="utf-8", errors=ANY_NAME)


def _score_table(summary: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    rows = []
    for metric, score in summary.items():
        bounds = score["interval"]
        interval = f"{bounds[0]:.3f} to {bounds[1]:.3f}" if bounds else "-"
        extremes = [f"{score[end][1]:.3f} ({score[end][0]})" for end in ("lowest", "highest")]
        rows.append([metric, f"{score['mean']:.3f}", interval, f"{score['median']:.3f}", *extremes, cases_text(score)])
    return ["score", "mean", "95 % interval", "median", "lowest", "highest", "cases"], rows


def _markdown(evaluation: Evaluation, summary: Mapping[str, Mapping[str, Any]]) -> str:
    failed = [f"- {case}: {what}" for case, what in evaluation.failed.items()]
    parts = [
        f"# {evaluation.title}",
        _about(evaluation),
        markdown_table(*_score_table(summary)),
        _READING,
        f"## {_failed_heading(evaluation)}",
        "\n".join(failed) or "none",
        "## How this was made",
        markdown_table(["", ""], _pairs(evaluation.made_with)),
        NOTICE,
    ]
    return "\n\n".join(parts)


def _about(evaluation: Evaluation) -> str:
    return f"Cases: {len(evaluation.rows)}; failures: {len(evaluation.failed)}."


def _failed_heading(evaluation: Evaluation) -> str:
    return f"Failures: {len(evaluation.failed)} of {len(evaluation.rows)} cases"


def _pairs(values: Mapping[str, Any]) -> list[list[str]]:
    return [[key, str(value)] for key, value in values.items()]


def _html(evaluation: Evaluation, summary: Mapping[str, Mapping[str, Any]]) -> str:
    charts = [("How the Dice of the cases spreads", _svg(_histogram(evaluation.rows)))]
    if evaluation.epochs:
        charts.append(("The training", _svg(curves(evaluation.epochs, "dice"))))
    columns = ["case", *metrics_of(evaluation.rows)]
    template = resources.files(__package__).joinpath("report.html").read_text(encoding="utf-8")
    return (
        Environment(autoescape=True, trim_blocks=True)
        .from_string(template)
        .render(
            title=evaluation.title,
            notice=NOTICE,
            about=_about(evaluation),
            scores=_score_table(summary),
            reading=_READING,
            charts=charts,
            galleries=_galleries(evaluation),
            cases=(columns, [[row.get(column, "") for column in columns] for row in evaluation.rows]),
            made_with=(["", ""], _pairs(evaluation.made_with)),
            table=_html_table,
        )
    )


def _html_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Markup:
    head = Markup("").join(Markup("<th>{}</th>").format(column) for column in columns)
    cells = (Markup("").join(Markup("<td>{}</td>").format(cell) for cell in row) for row in rows)
    body = Markup("").join(Markup("<tr>{}</tr>\n").format(row) for row in cells)
    return Markup("<table><thead><tr>{}</tr></thead><tbody>\n{}</tbody></table>").format(head, body)


def _galleries(evaluation: Evaluation) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """Return headings, notes, and captions with pictures: failures, then best, median and worst cases."""
    if not evaluation.examples:
        return []
    scores = key_scores(evaluation.rows)
    ranked = sorted(scores, key=lambda case: -scores[case])
    middle = max(len(ranked) // 2 - _SHOWN // 2, 0)
    parts = {"Best": ranked[:_SHOWN], "Median": ranked[middle : middle + _SHOWN], "Worst": ranked[-_SHOWN:][::-1]}
    colours = "Outlines: truth in blue, prediction in yellow."
    failed = evaluation.failed
    shown = [*failed][: 2 * _SHOWN]
    note = f"Dice under {LOW}, or a lesion seen where there is none. {colours}"
    if len(shown) < len(failed):
        note += f" The first {len(shown)} are shown; all are in report.json."
    galleries = [(_failed_heading(evaluation), note, _pictures(evaluation, {case: failed[case] for case in shown}))]
    for name, cases in parts.items():
        captions = {case: f"{evaluation.key_name} {scores[case]:.3f}" for case in cases}
        galleries.append((f"{name} cases", colours, _pictures(evaluation, captions)))
    return [gallery for gallery in galleries if gallery[-1]]


def _pictures(evaluation: Evaluation, captions: Mapping[str, str]) -> list[tuple[str, str]]:
    found = evaluation.examples
    return [(f"{case}: {caption}", _jpeg(outlines(found[case]))) for case, caption in captions.items() if case in found]


def _histogram(rows: Sequence[Row]) -> Figure:
    """Return a figure of how many cases have which Dice, of every region."""
    figure = Figure(figsize=(8, 3), layout="constrained")
    axis = figure.subplots()
    metrics = dice_columns(rows)
    for metric in metrics:
        values = [*scores_of(rows, metric).values()]
        axis.hist(values, 20, range=(0, 1), label=metric, alpha=1 / len(metrics) ** 0.5)
    axis.set(xlabel="Dice", ylabel="cases", xlim=(0, 1))
    if len(metrics) > 1:
        axis.legend()
    return figure


def _svg(figure: Figure) -> str:
    content = io.BytesIO()
    figure.savefig(content, format="svg", metadata={"Date": None})
    return _data_url("svg+xml", content)


def _jpeg(image: np.ndarray) -> str:
    content = io.BytesIO()
    Image.fromarray(image).save(content, "jpeg", quality=88)
    return _data_url("jpeg", content)


def _data_url(kind: str, content: io.BytesIO) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content.getvalue()).decode()}"
