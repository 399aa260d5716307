"""Does the product unit help, where, and how sure are we? In words, from differences of PU-UNet and its baseline."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import fmean

from experiments.paper.found import FIRST, PAIR, PU, Found
from experiments.paper.protocol import DATASETS, SEEDS
from experiments.paper.published import FALSE_POSITIVE_RATES, GAINS
from pu_unet_monai.evaluation.statistics import bootstrap_interval, holm_p_values, p_value_text, permutation_p_value

__all__ = ["answer"]

_SURE = 0.05


def answer(found: Mapping[str, Found]) -> str:
    """Say what the differences between PU-UNet and its baseline are, on every dataset."""
    p_values = {
        name: p_value for name, of in found.items() if (p_value := _p_value(of, of.gains(PU, "dice"))) is not None
    }
    corrected = dict(zip(p_values, holm_p_values([*p_values.values()]), strict=True))
    lines: list[str] = []
    in_short: dict[str, list[str]] = {}
    for name, of in found.items():
        title = DATASETS[name].title
        if name in corrected:
            verdict = _verdict(corrected[name], of)
            lines.append(f"- **{title}**: {_difference(name, of, corrected)}: {verdict}.{_failures(of)} {_paper(name)}")
        else:
            verdict = "not known yet"
            lines.append(
                f"- **{title}**: PU-UNet and its baseline are not both trained under one seed yet.{_failures(of)}"
            )
        in_short.setdefault(verdict, []).append(title)
        if false_alarms := _false_alarms(of):
            lines.append(f"- **{title}, images without a lesion**: {false_alarms}")
    short = "; ".join(f"{', '.join(titles)}: {verdict}" for verdict, titles in in_short.items())
    return "\n\n".join(
        [
            "## Does the product unit help, where, and how sure are we?",
            f"In short: {short}." if short else "",
            "\n".join(lines),
            "The interval says how the mean would vary with other images; how it varies with the training, the single "
            "seeds show, which are few: that all of a few go one way happens by chance too. What this cannot say: how "
            "the paper's own protocol, larger and longer, would end.",
        ]
    )


def _p_value(of: Found, gains: Mapping[str, float]) -> float | None:
    return permutation_p_value([*gains.values()], [of.groups[case] for case in gains])


def _of_seeds(of: Found) -> list[dict[str, float]]:
    """Return the gains in Dice by image, of every seed that both have."""
    return [of.gains_of_seed(PU, seed, "dice") for seed in of.paired_seeds(PU)]


def _difference(name: str, of: Found, corrected: Mapping[str, float]) -> str:
    gains = of.gains(PU, "dice")
    groups = [of.groups[case] for case in gains]
    low, high = bootstrap_interval([*gains.values()], groups) or (math.nan, math.nan)
    images = f"{len(gains)} images" + f" of {len(set(groups))} scenes" * (len(set(groups)) < len(gains))
    alone = ", ".join(f"{fmean(of_seed.values()):+.3f}" for of_seed in _of_seeds(of))
    return (
        f"PU-UNet less the matched Residual U-Net, Dice {fmean(gains.values()):+.3f} (95 % interval {low:+.3f} to "
        f"{high:+.3f}, {p_value_text(corrected[name])}{_corrected_for(len(corrected))}; "
        f"{images}; {len(of.paired_seeds(PU))} of {len(SEEDS)} seeds, alone {alone})"
    )


def _corrected_for(number: int) -> str:
    return f" after Holm's correction for {number} datasets" * (number > 1)


def _verdict(p_value: float, of: Found) -> str:
    """Say what the gains of the images, under each seed, amount to."""
    gains = _of_seeds(of)
    means = [fmean(of_seed.values()) for of_seed in gains]
    if p_value >= _SURE:
        p_values = [_p_value(of, of_seed) for of_seed in gains]
        certain = [mean for mean, p in zip(means, p_values, strict=True) if p is not None and p < _SURE]
        if certain and min(certain) < 0 < max(certain):
            return "no difference on average, but single trainings differ, one way and the other"
        return f"no difference that these images {'and one training of each ' if len(gains) == 1 else ''}can show"
    direction = "better" if fmean(means) > 0 else "worse"
    if len(gains) == 1:
        return f"{direction}, as far as one training of each can say"
    if min(means) > 0 or max(means) < 0:
        return f"{direction} in each of {len(gains)} trainings"
    return f"{direction} on average, but not under every seed"


def _paper(name: str) -> str:
    return f"The paper: +{GAINS[name]['dice']}."


def _false_alarms(of: Found) -> str:
    """Say in how many of the lesion-free images a lesion is seen, if there are any."""
    metric, seeds = "false_positive_rate", of.paired_seeds(PU)
    rates = {variant: of.scores(variant, metric, seeds) for variant in PAIR}
    p_value = _p_value(of, of.gains(PU, metric))
    if p_value is None:
        return ""
    ours = " and ".join(f"{fmean(rates[variant].values()):.0%} ({title})" for variant, title in PAIR.items())
    published = " and ".join(f"{rate:.1%}" for rate in FALSE_POSITIVE_RATES.values())
    return f"a lesion is seen in {ours} of {len(rates[FIRST])}, {p_value_text(p_value)}; the paper: {published}."


def _failures(of: Found) -> str:
    """Name the trainings that failed, which no mean holds."""
    failed = [
        f"{title} under seed {seed} ({reason})"
        for variant, title in PAIR.items()
        for seed, reason in of.failures(variant).items()
    ]
    return f" Failed, and so in no mean: {', '.join(failed)}." if failed else ""
