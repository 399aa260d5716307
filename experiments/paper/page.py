"""Write docs/results.md from the stored scores: the paper's tables beside ours, and what they say.

    python -m experiments.paper.page

Everything is computed here from the scores of single images in ``experiments/paper/results``, the records of the
bundles' weights (``bundles/*/docs/weights.json``) and ``benchmarks/results/complexity.md``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

from experiments.paper.collect import RESULTS
from experiments.paper.protocol import DATASETS, SEEDS, SETTINGS, VARIANTS, WEIGHTS_GOALS
from experiments.paper.published import ABLATIONS, BASELINE, FALSE_POSITIVE_RATES, GAINS, PU_UNET
from pu_unet_monai.errors import UserError, print_error
from pu_unet_monai.evaluation.pictures import NOTICE
from pu_unet_monai.evaluation.scores import metrics_of, read_rows, scores_of
from pu_unet_monai.evaluation.statistics import bootstrap_interval, p_value_text, permutation_p_value
from pu_unet_monai.evaluation.tables import markdown_table
from pu_unet_monai.files import atomic_path, read_csv, read_json

REPOSITORY = Path(__file__).parents[2]
PAGE = REPOSITORY / "docs" / "results.md"
FIRST, PU = "pu_unet:placement=none", "pu_unet:placement=low_resolution"
_PAIR = {PU: "PU-UNet", FIRST: "Residual U-Net"}
_SURE = 0.05


@dataclass(frozen=True)
class Found:
    """What the grid found on one dataset.

    Args:
        folder: its folder among the results.
    """

    folder: Path

    @cached_property
    def rows(self) -> list[dict[str, str]]:
        """Scores of every image, variant and seed."""
        return read_csv(self.folder / "scores.csv")

    @cached_property
    def trainings(self) -> list[dict[str, str]]:
        """A row for every training."""
        return read_csv(self.folder / "trainings.csv")

    @cached_property
    def protocol(self) -> dict[str, Any]:
        """What all trainings share."""
        return read_json(self.folder / "protocol.json", "collect again")

    def check(self) -> None:
        """Check that all trainings have scores of the same images: means and differences of others mean nothing.

        Raises:
            UserError: naming a training that has not.
        """
        trainings = dict.fromkeys((row["variant"], row["seed"]) for row in self.rows)
        scored = {(variant, seed): set(self.of_seed(variant, seed, "dice")) for variant, seed in trainings}
        most = max(scored.values(), key=len)
        for (variant, seed), cases in scored.items():
            if cases != most:
                raise UserError(
                    f"{self.folder / 'scores.csv'}: {variant} under seed {seed} has a Dice of {len(cases)} images, "
                    f"others of {len(most)} (such as {min(most ^ cases)}); train it again, and collect."
                )

    def seeds(self, variant: str) -> list[str]:
        """Return the seeds under which a variant was trained to the end."""
        return sorted({row["seed"] for row in self.rows if row["variant"] == variant})

    def of_seed(self, variant: str, seed: str, metric: str) -> dict[str, float]:
        """Return the scores of a variant's training, by image."""
        return scores_of([row for row in self.rows if (row["variant"], row["seed"]) == (variant, seed)], metric)

    def scores(self, variant: str, metric: str, seeds: Sequence[str]) -> dict[str, float]:
        """Return the scores of a variant by image, of each image the mean over some seeds."""
        return _means([self.of_seed(variant, seed, metric) for seed in seeds])

    def failures(self, variant: str) -> dict[str, str]:
        """Return why trainings of a variant failed, by their seed."""
        rows = [row for row in self.trainings if row["variant"] == variant and row["failed"]]
        return {row["seed"]: row["failed"] for row in rows if row["done"] != "1"}

    def paired_seeds(self, variant: str) -> list[str]:
        """Return the seeds under which both a variant and the baseline were trained to the end."""
        return [seed for seed in self.seeds(variant) if seed in self.seeds(FIRST)]

    def gains_of_seed(self, variant: str, seed: str, metric: str) -> dict[str, float]:
        """Return by image how much better a variant is than the baseline under a seed."""
        own, first = self.of_seed(variant, seed, metric), self.of_seed(FIRST, seed, metric)
        return {case: own[case] - first[case] for case in own if case in first}

    def gains(self, variant: str, metric: str) -> dict[str, float]:
        """Return by image how much better a variant is than the baseline, the mean over the seeds that both have."""
        return _means([self.gains_of_seed(variant, seed, metric) for seed in self.paired_seeds(variant)])


def main(argv: Sequence[str] | None = None) -> int:
    """Write the page, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.paper.page",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder that experiments.paper.collect wrote")
    parser.add_argument("--output", type=Path, default=PAGE, help="file to write")
    args = parser.parse_args(argv)
    try:
        if not args.results.is_dir():
            raise UserError(f"--results {args.results}: no such folder; run experiments.paper.collect first.")
        text = page(args.results)
        with atomic_path(args.output) as path:
            path.write_text(text, encoding="utf-8")
    except UserError as error:
        print_error(error)
        return 2
    print(args.output)
    return 0


def page(results: Path) -> str:
    """Return the page of results as Markdown."""
    found = {name: Found(results / name) for name in DATASETS if (results / name / "scores.csv").is_file()}
    _check(found)
    parts = [
        _head(found),
        _answer(found),
        _main_table(found),
        _ablation_table(found),
        _training_table(found),
        _brain_table(results / "brain"),
        _complexity_table(),
        _weights_table(),
        f"{NOTICE} [More measurements](more_results.md): brain MRI, networks side by side, time.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _check(found: Mapping[str, Found]) -> None:
    """Check that the scores can stand in one table."""
    for of in found.values():
        of.check()
    settings = {name: {key: of.protocol.get(key) for key in SETTINGS} for name, of in found.items()}
    if others := [name for name in settings if settings[name] != next(iter(settings.values()))]:
        raise UserError(f"{', '.join(others)}: of other settings than {next(iter(settings))}; collect one protocol.")


def _head(found: Mapping[str, Found]) -> str:
    lines = [
        "# Results",
        "Written by `python -m experiments.paper.page` from the scores of single images in "
        "`experiments/paper/results`; do not edit.",
    ]
    if not found:
        return "\n\n".join([*lines, "No training of the grid is done yet."])
    grid = next(iter(found.values())).protocol
    machines = {_machine(training) for of in found.values() for training in of.trainings}
    done = sum(training["done"] == "1" for of in found.values() for training in of.trainings)
    planned = len(DATASETS) * len(VARIANTS) * len(SEEDS)
    if done < planned:
        lines.append(
            f"**{done} of {planned} trainings of the grid are done so far.** The tables say of how many seeds a number "
            "is; a dash is of none."
        )
    lines.append(
        "The reduced protocol: input "
        f"{grid['image_size']}x{grid['image_size']}, widths {grid['channels'][0]} to {grid['channels'][-1]}, "
        f"{grid['max_epochs']} epochs of AdamW 3e-4 with cosine to 0, batch 8, from scratch; the weights of the best "
        "validation Dice; the test split scored once a training, at the images' own size. Kvasir-SEG and BUSI are "
        "split 80/10/10, near-duplicates on one side; of ISIC 2018 a fixed third of the training images is used, of a "
        "re-encoded copy (so scores there do not compare with published ones). The paper trained at 352x352 and "
        "256x256, with widths 32 to 512, for 200 and 150 epochs. Hardware: "
        f"{'; '.join(sorted(machines))}; one thread a training.\n\n"
        "```bash\nOMP_NUM_THREADS=1 python -m experiments.paper.grid --data FOLDER --output output/paper\n"
        "python -m experiments.paper.collect --grid output/paper\npython -m experiments.paper.page\n```"
    )
    return "\n\n".join(lines)


def _answer(found: Mapping[str, Found]) -> str:
    """Say in words what the differences between PU-UNet and its baseline are."""
    lines: list[str] = []
    in_short: dict[str, list[str]] = {}
    for name, of in found.items():
        gains = [*of.gains(PU, "dice").values()]
        interval, p_value = bootstrap_interval(gains), permutation_p_value(gains)
        if interval is None or p_value is None:
            lines.append(
                f"- **{DATASETS[name].title}**: PU-UNet and its baseline are not both trained under one seed yet."
                f"{_failures(of)}"
            )
            in_short.setdefault("not known yet", []).append(DATASETS[name].title)
            continue
        seeds = of.paired_seeds(PU)
        each = [[*of.gains_of_seed(PU, seed, "dice").values()] for seed in seeds]
        alone = ", ".join(f"{fmean(gains_of_seed):+.3f}" for gains_of_seed in each)
        verdict = _verdict(p_value, each)
        in_short.setdefault(verdict, []).append(DATASETS[name].title)
        lines.append(
            f"- **{DATASETS[name].title}**: PU-UNet less the matched Residual U-Net, Dice {fmean(gains):+.3f} "
            f"(95 % interval {interval[0]:+.3f} to {interval[1]:+.3f}, {p_value_text(p_value)}; {len(gains)} images; "
            f"{len(seeds)} of {len(SEEDS)} seeds, alone {alone}): {verdict}.{_failures(of)} "
            f"The paper: +{GAINS[name]['dice']}."
        )
    short = "; ".join(f"{', '.join(titles)}: {verdict}" for verdict, titles in in_short.items())
    return "\n\n".join(
        [
            "## Does the product unit help, where, and how sure are we?",
            f"In short: {short}." if short else "",
            "\n".join(lines),
            "The interval says how the mean would vary with other images; how it varies with the training, the single "
            "seeds show. What this cannot say: how the paper's own protocol, larger and longer, would end.",
        ]
    )


def _verdict(p_value: float, gains: Sequence[Sequence[float]]) -> str:
    """Say what the gains of the images, under each seed, amount to."""
    means = [fmean(of_seed) for of_seed in gains]
    if p_value >= _SURE:
        certain = [mean for mean, of in zip(means, gains, strict=True) if (permutation_p_value(of) or 1.0) < _SURE]
        if certain and min(certain) < 0 < max(certain):
            return "no difference on average, but single trainings differ, one way and the other"
        return f"no difference that these images {'and one training of each ' if len(gains) == 1 else ''}can show"
    direction = "better" if fmean(means) > 0 else "worse"
    if len(gains) == 1:
        return f"{direction}, as far as one training of each can say"
    if min(means) > 0 or max(means) < 0:
        return direction
    return f"{direction} on average, but not under every seed"


def _failures(of: Found) -> str:
    """Name the trainings that failed, which no mean holds."""
    failed = [
        f"{title} under seed {seed} ({reason})"
        for variant, title in _PAIR.items()
        for seed, reason in of.failures(variant).items()
    ]
    return f" Failed, and so in no mean: {', '.join(failed)}." if failed else ""


def _main_table(found: Mapping[str, Found]) -> str:
    rows = []
    for name, of in found.items():
        shared = of.paired_seeds(PU)
        for (variant, title), published in zip(_PAIR.items(), (PU_UNET, BASELINE), strict=True):
            seeds = shared or of.seeds(variant)
            ours = [_with_interval(of.scores(variant, metric, seeds)) for metric in ("dice", "iou")]
            rows.append([DATASETS[name].title, title, *_beside(ours, [published[name][m] for m in ("dice", "iou")])])
            rows[-1] += [_rate(of, variant, seeds) if name == "busi" else "", _seeds_text(seeds)]
        gains = [of.gains(PU, metric) for metric in ("dice", "iou")]
        ours = [_with_interval(gain, "+.3f", True) for gain in gains]
        rows.append([DATASETS[name].title, "difference", *_beside(ours, [GAINS[name][m] for m in ("dice", "iou")]), ""])
        rows[-1].append(_seeds_text(shared))
    columns = ["", "", "Dice, ours", "Dice, published", "IoU, ours", "IoU, published", "false positive rate", "seeds"]
    rates = ", ".join(f"{name} {rate:.3f}" for name, rate in FALSE_POSITIVE_RATES.items())
    return (
        f"## Tables 2 and 3: PU-UNet and its matched baseline\n\n{markdown_table(columns, rows)}\n\n"
        "Means over images of the mean over seeds (those that both have, once there are any), 95 % bootstrap intervals "
        "(2,000 resamples), p-values of paired permutation tests (20,000). BUSI: trained with normal images; "
        "Dice and IoU of images with a lesion, the false "
        f"positive rate of normal ones (published: {rates})."
    )


def _ablation_table(found: Mapping[str, Found]) -> str:
    rows = []
    for variant, title in VARIANTS.items():
        row = [title]
        for name, of in found.items():
            seeds, shared = of.seeds(variant), of.paired_seeds(variant)
            scores = of.scores(variant, "dice", seeds)
            gains = of.gains(variant, "dice")
            row.append(f"{fmean(scores.values()):.3f}" if scores else "-")
            row.append(_with_interval(gains, "+.3f", True) if gains and variant != FIRST else "")
            row.append(f"{ABLATIONS[title][name][0]:.3f}")
            row.append(f"{len(seeds)}" + (f" ({len(shared)} shared)" if shared and shared != seeds else ""))
        rows.append(row)
    columns = ["configuration"]
    for name in found:
        title = DATASETS[name].title
        columns += [f"{title}: Dice", "less the baseline's", "published", "seeds"]
    return (
        f"## Table 5: placement and stabilisation\n\n{markdown_table(columns, rows)}\n\n"
        "Dice over all seeds of a row, differences over those that the baseline has too. Each p-value is of one "
        "comparison: they are not corrected for their number, and of twenty one under 0.05 is to be expected by chance."
    )


def _training_table(found: Mapping[str, Found]) -> str:
    rows = []
    for name, of in found.items():
        for variant, title in VARIANTS.items():
            runs = [row for row in of.trainings if row["variant"] == variant]
            if not runs:
                continue
            numbers = {
                column: [float(row[column]) for row in runs if row[column]]
                for column in ("seconds", "gradient_norm_max", "non_finite_gradients", "clipped_share")
            }
            rows.append(
                [
                    DATASETS[name].title,
                    title,
                    f"{sum(row['done'] == '1' for row in runs)} of {len(SEEDS)}",
                    f"{fmean(numbers['seconds']) / 60:.0f}",
                    f"{max(numbers['gradient_norm_max'], default=float('nan')):.3g}",
                    f"{sum(numbers['non_finite_gradients']):.0f}",
                    f"{max(numbers['clipped_share'], default=0):.2%}",
                    "; ".join(f"seed {row['seed']}: {row['failed']}" for row in runs if row["failed"]),
                ]
            )
    columns = ["", "", "done", "minutes", "largest gradient norm", "non-finite gradients", "clipped outputs", "failed"]
    return (
        "## Gradient explosion, seen or not\n\n"
        f"{markdown_table(columns, rows)}\n\n"
        "Over all seeds: the largest norm of a gradient before clipping at 1, how many were not finite, and the "
        "largest share of clipped outputs in a last epoch (without clipping: of those beyond e^10). The paper reports "
        "gradient explosion without log-domain clipping."
    )


def _brain_table(folder: Path) -> str:
    if not (folder / "scores.csv").is_file():
        return ""
    rows, protocol = read_rows(folder / "scores.csv"), read_json(folder / "protocol.json", "train again")
    metrics = [name for name in metrics_of(rows) if name.startswith(("dice", "surface"))]
    scores = {metric: scores_of(rows, metric) for metric in metrics}
    lines = [
        [row["case"], *(f"{scores[m][row['case']]:.3f}" if row["case"] in scores[m] else "-" for m in metrics)]
        for row in rows
    ]
    lines.append(["mean", *(_with_interval(scores[metric]) for metric in metrics)])
    settings = ", ".join(f"{key} {value}" for key, value in protocol["settings"].items())
    where = protocol["machine"]
    return (
        "## Brain MRI: each head tested by a training on the others\n\n"
        "`python -m experiments.paper.leave_one_out --dataset-dir Task01_BrainTumour --output output/heads`\n\n"
        f"{markdown_table(['head', *metrics], lines)}\n\n"
        f"PU-UNet in 3D on {protocol['training_heads']} heads at a time ({settings}; "
        f"{where['gpu'] or where['processor']}, one thread). Surface distances in mm. So few heads say that the "
        "pipeline learns, and no more; a dash is a "
        "structure that the head does not have, or of which nothing was found."
    )


def _complexity_table() -> str:
    path = REPOSITORY / "benchmarks" / "results" / "complexity.md"
    if not path.is_file():
        return ""
    return f"## Table 1: complexity\n\n`python -m benchmarks.complexity`\n\n{path.read_text(encoding='utf-8').strip()}"


def _weights_table() -> str:
    records = {path.parents[1].name: read_json(path) for path in sorted(REPOSITORY.glob("bundles/*/docs/weights.json"))}
    if not records:
        return ""
    rows, missed = [], []
    for name, record in records.items():
        dice = {metric: score for metric, score in record["scores"].items() if metric.startswith("dice")}
        shown = [
            f"{metric} {_mean_and_interval(score['mean'], score['interval'])}"
            for metric, score in dice.items()
            if "grid" not in metric
        ]
        goal = WEIGHTS_GOALS.get(name)
        met = goal is not None and record["scores"]["dice"]["mean"] >= goal.dice
        rows.append([f"`{name}`", record["data"], record["training"]["what"], "; ".join(shown)])
        rows[-1] += [f"{goal.dice:.2f}: {'yes' if met else 'no'}" if goal else "", record["licence"]]
        if goal and not met:
            missed.append(f"`{name}` misses its goal: {goal.if_missed}")
    columns = ["bundle", "data", "training", "test split", "goal from CPU hours, met", "licence of the data"]
    return "\n\n".join(
        [
            f"## The weights in the bundles\n\n{markdown_table(columns, rows)}",
            *missed,
            "Each bundle's `docs/weights.json` has the whole record, and the command that gives these scores again: "
            "they are of the weights in half precision, so that a last digit may differ from the tables above.",
        ]
    )


def _means(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each image over the seeds that have it."""
    cases = dict.fromkeys(case for of_seed in scores for case in of_seed)
    return {case: fmean(of_seed[case] for of_seed in scores if case in of_seed) for case in cases}


def _machine(training: Mapping[str, str]) -> str:
    """Say what a training ran on."""
    amx = " with AMX" if training["amx"] == "True" else ""
    return f"{training['gpu'] or training['processor'] + amx}, torch {training['torch']}, MONAI {training['monai']}"


def _seeds_text(seeds: Sequence[str]) -> str:
    return ", ".join(seeds) or "-"


def _rate(of: Found, variant: str, seeds: Sequence[str]) -> str:
    rates = of.scores(variant, "false_positive_rate", seeds)
    return f"{fmean(rates.values()):.3f} ({len(rates)} images)" if rates else "-"


def _beside(ours: Sequence[str], published: Sequence[str]) -> list[str]:
    return [cell for pair in zip(ours, published, strict=True) for cell in pair]


def _with_interval(scores: Mapping[str, float], form: str = ".3f", p_value: bool = False) -> str:
    values = [*scores.values()]
    if not values:
        return "-"
    text = _mean_and_interval(fmean(values), bootstrap_interval(values), form)
    found = permutation_p_value(values) if p_value else None
    return text if found is None else f"{text}, {p_value_text(found)}"


def _mean_and_interval(mean: float, bounds: Sequence[float] | None, form: str = ".3f") -> str:
    return f"{mean:{form}}" + (f" [{bounds[0]:{form}}, {bounds[1]:{form}}]" if bounds else "")


if __name__ == "__main__":
    sys.exit(main())
