"""Write docs/results.md from the stored scores: the paper's tables beside ours, and what they say.

    python -m experiments.paper.page

Everything is computed here from the scores of single images in ``experiments/paper/results``, the records of the
bundles' weights (``bundles/*/docs/weights.json``) and ``benchmarks/results/complexity.md``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from experiments.paper.answer import answer
from experiments.paper.collect import RESULTS
from experiments.paper.found import FIRST, PAIR, PU, Found
from experiments.paper.protocol import DATASETS, SEEDS, SETTINGS, VARIANTS, WEIGHTS_GOALS, Goal
from experiments.paper.published import ABLATIONS, BASELINE, EXCLUDING_NORMAL, FALSE_POSITIVE_RATES, GAINS, PU_UNET
from pu_unet_monai.errors import UserError, print_error
from pu_unet_monai.evaluation.pictures import NOTICE
from pu_unet_monai.evaluation.scores import FALSE_ALARM, groups_of, mean_interval, metrics_of, read_rows, scores_of
from pu_unet_monai.evaluation.statistics import bootstrap_interval, p_value_text, permutation_p_value
from pu_unet_monai.evaluation.tables import markdown_table
from pu_unet_monai.files import atomic_path, read_json

REPOSITORY = Path(__file__).parents[2]
PAGE = REPOSITORY / "docs" / "results.md"


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
        answer(found),
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
    copies = "; ".join(f"{dataset.title} {dataset.copied}" for dataset in DATASETS.values())
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
        "validation Dice; the test split scored once a training, at the images' own size. All are split 80/10/10, "
        "near-duplicates on one side; of ISIC 2018 a fixed third of the training images is used. The images are copies "
        f"of the published ones, and their own size is that of the copies: {copies}. Scores on the published images "
        "differ a little; those of ISIC 2018, without margins and on a split of our own, do not compare with published "
        "ones at all. The paper trained at 352x352 and 256x256, with widths 32 to 512, for 200 and 150 epochs. "
        f"Hardware: {'; '.join(sorted(machines))}; one thread a training.\n\n"
        "```bash\nOMP_NUM_THREADS=1 python -m experiments.paper.grid --data FOLDER --output output/paper\n"
        "python -m experiments.paper.collect --grid output/paper\npython -m experiments.paper.page\n```"
    )
    return "\n\n".join(lines)


def _main_table(found: Mapping[str, Found]) -> str:
    rows = []
    for name, of in found.items():
        title, shared = DATASETS[name].title, of.paired_seeds(PU)
        for (variant, network), published in zip(PAIR.items(), (PU_UNET, BASELINE), strict=True):
            seeds = shared or of.seeds(variant)
            ours = [_mean(of, metric, of.scores(variant, metric, seeds)) for metric in ("dice", "iou")]
            rows.append([title, network, *_beside(ours, [published[name][m] for m in ("dice", "iou")])])
            rates = of.scores(variant, "false_positive_rate", seeds)
            rows[-1] += _beside([_mean(of, "false_positive_rate", rates)], [_published_rate(name, network)])
            rows[-1].append(_seeds_text(seeds))
        ours = [_difference(of, of.gains(PU, metric)) for metric in ("dice", "iou")]
        rows.append([title, "difference", *_beside(ours, [GAINS[name][m] for m in ("dice", "iou")])])
        rows[-1] += [_difference(of, of.gains(PU, "false_positive_rate")), "", _seeds_text(shared)]
    for network, excluding in EXCLUDING_NORMAL.items():
        rows.append(["BUSI (excl. normal)", network, *_beside(["-", "-"], [excluding["dice"], excluding["iou"]])])
        rows[-1] += ["-", "-", "-"]
    columns = ["", "", *_beside(["Dice, ours", "IoU, ours"], ["Dice, published", "IoU, published"])]
    columns += ["false positive rate, ours", "published", "seeds"]
    return (
        f"## Tables 2 and 3: PU-UNet and its matched baseline\n\n{markdown_table(columns, rows)}\n\n"
        "Means over images of the mean over seeds (those that both have, once there are any), 95 % bootstrap intervals "
        "(2,000 resamples; of false positive rates exact ones), p-values of paired permutation tests (20,000), each of "
        "one comparison. Images of one scene are resampled, and change sign, together: "
        f"{_scenes(found)}. BUSI is trained with normal images, Dice and IoU are of images with a lesion, the false "
        "positive rate is of normal ones; without normal images it was not trained."
    )


def _ablation_table(found: Mapping[str, Found]) -> str:
    rows = []
    for name, of in found.items():
        for variant, title in VARIANTS.items():
            seeds, shared = of.seeds(variant), of.paired_seeds(variant)
            row = [DATASETS[name].title, title]
            for metric, published in zip(("dice", "iou"), ABLATIONS[title][name], strict=True):
                scores, gains = of.scores(variant, metric, seeds), of.gains(variant, metric)
                row.append(f"{fmean(scores.values()):.3f}" if scores else "-")
                row.append(_difference(of, gains) if variant != FIRST else "")
                row.append(f"{published:.3f}")
            row.append(f"{len(seeds)}" + (f" ({len(shared)} shared)" if shared and shared != seeds else ""))
            rows.append(row)
    columns = ["", "configuration"]
    for metric in ("Dice", "IoU"):
        columns += [f"{metric}, ours", "less the baseline's", "published"]
    return (
        f"## Table 5: placement and stabilisation\n\n{markdown_table([*columns, 'seeds'], rows)}\n\n"
        "Scores over all seeds of a row, differences over those that the baseline has too. Each p-value is of one "
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
    unclipped = "pu_unet:log_clip=null"
    trained = [name for name, of in found.items() if any(row["variant"] == unclipped for row in of.trainings)]
    untried = "" if trained else " **Here it was neither seen nor refuted: nothing was trained without clipping yet.**"
    return (
        "## Gradient explosion, seen or not\n\n"
        f"{markdown_table(columns, rows)}\n\n"
        "Over all seeds: the largest norm of a gradient before clipping at 1, how many were not finite, and the "
        "largest share of clipped outputs in a last epoch (without clipping: of those beyond e^10). The paper reports "
        f"gradient explosion without log-domain clipping.{untried}"
    )


def _brain_table(folder: Path) -> str:
    title = "## Brain MRI: each head tested by a training on the others"
    command = "`python -m experiments.paper.leave_one_out --dataset-dir Task01_BrainTumour --output output/heads`"
    if not (folder / "scores.csv").is_file():
        return f"{title}\n\n{command}\n\nNot done yet: no such training is finished."
    rows, protocol = read_rows(folder / "scores.csv"), read_json(folder / "protocol.json", "train again")
    metrics = [name for name in metrics_of(rows) if name.startswith(("dice", "surface", FALSE_ALARM))]
    scores = {metric: scores_of(rows, metric) for metric in metrics}
    groups = groups_of(rows)
    lines = [
        [row["case"], *(f"{scores[m][row['case']]:.3f}" if row["case"] in scores[m] else "-" for m in metrics)]
        for row in rows
    ]
    means = [
        _mean_and_interval(fmean(of.values()), mean_interval(metric, of, groups)) if of else "-"
        for metric, of in scores.items()
    ]
    lines.append(["mean", *means])
    settings = ", ".join(f"{key} {value}" for key, value in protocol["settings"].items())
    where = protocol["machine"]
    return (
        f"{title}\n\n{command}\n\n{markdown_table(['head', *metrics], lines)}\n\n"
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
        shown = [
            f"{metric} {_mean_and_interval(score['mean'], score['interval'])}"
            for metric, score in record["scores"].items()
            if metric.startswith(("dice", FALSE_ALARM)) and "grid" not in metric
        ]
        rows.append([f"`{name}`", record["data"], record["training"]["what"], "; ".join(shown)])
        goal = WEIGHTS_GOALS.get(name)
        rows[-1] += [*(_goals(record, goal) if goal else ["", ""]), record["licence"]]
        if goal and record["scores"]["dice"]["mean"] < goal.cpu:
            missed.append(f"`{name}` misses its goal: {goal.if_missed}")
    columns = ["bundle", "data", "training", "test split", "goal from CPU hours", "from a GPU", "licence of the data"]
    return "\n\n".join(
        [
            f"## The weights in the bundles\n\n{markdown_table(columns, rows)}",
            *missed,
            "Each bundle's `docs/weights.json` has the whole record, and the command that gives these scores again: "
            "they are of the weights in half precision, so that a last digit may differ from the tables above.",
        ]
    )


def _goals(record: Mapping[str, Any], goal: Goal) -> list[str]:
    """Say which Dice weights were to have from hours on a CPU, and from a GPU, and whether they have."""
    dice, on_gpu = record["scores"]["dice"]["mean"], record["training"]["machine"]["gpu"]
    cells = [f"{goal.cpu:.2f}: {'met' if dice >= goal.cpu else 'missed'}"]
    if goal.gpu is None:
        return [*cells, ""]
    missed = "missed" if on_gpu else "missed, as none was at hand"
    return [*cells, f"{goal.gpu:.2f}: {'met' if dice >= goal.gpu else missed}"]


def _machine(training: Mapping[str, str]) -> str:
    """Say what a training ran on."""
    amx = " with AMX" if training["amx"] == "True" else ""
    return f"{training['gpu'] or training['processor'] + amx}, torch {training['torch']}, MONAI {training['monai']}"


def _seeds_text(seeds: Sequence[str]) -> str:
    return ", ".join(seeds) or "-"


def _beside(ours: Sequence[str], published: Sequence[str]) -> list[str]:
    return [cell for pair in zip(ours, published, strict=True) for cell in pair]


def _mean(of: Found, metric: str, scores: Mapping[str, float]) -> str:
    if not scores:
        return "-"
    return _mean_and_interval(fmean(scores.values()), mean_interval(metric, scores, of.groups))


def _difference(of: Found, gains: Mapping[str, float]) -> str:
    if not gains:
        return "-"
    values, groups = [*gains.values()], [of.groups[case] for case in gains]
    text = _mean_and_interval(fmean(values), bootstrap_interval(values, groups), "+.3f")
    p_value = permutation_p_value(values, groups)
    return text if p_value is None else f"{text}, {p_value_text(p_value)}"


def _published_rate(name: str, network: str) -> str:
    return f"{FALSE_POSITIVE_RATES[network]:.3f}" if name == "busi" else "-"


def _scenes(found: Mapping[str, Found]) -> str:
    """Say of every dataset how many images for test are of how many scenes."""
    numbers = [(DATASETS[name].title, of.groups) for name, of in found.items()]
    return ", ".join(f"{title} has {len(groups)} images of {len({*groups.values()})}" for title, groups in numbers)


def _mean_and_interval(mean: float, bounds: Sequence[float] | None, form: str = ".3f") -> str:
    return f"{mean:{form}}" + (f" [{bounds[0]:{form}}, {bounds[1]:{form}}]" if bounds else "")


if __name__ == "__main__":
    sys.exit(main())
