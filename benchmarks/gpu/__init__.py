"""All that wants a CUDA card, in one call of under eight minutes: first whether the numbers are right, then times.

    python -m benchmarks.gpu --output output/bench

Needed are this repository, PyTorch, MONAI, NumPy, SciPy, tqdm and psutil; nibabel and Pillow for the inferers, whose
rows say so where these are missing. ``torch.compile`` needs a C compiler. Parts, in this order, each with its share of
the time; what a part leaves over goes to the next:

1. numerics: the product unit's own backward pass, precisions, the compiler and CUDA graphs against what they stand for
2. baseline: PU-UNet against its baseline, in latency, training step and bytes of a step
3. runtimes: ways to run one network, against eager float32
4. networks: PU-UNet beside networks of MONAI
5. volume: a whole brain, by MONAI's windows and by one pass over the foreground
6. throughput: images and volumes a second in training

What fails (no memory, no compiler) is a line of the results and costs nothing else; what the time does not reach is
named. Results are written as they come, so a run that is cut off leaves what it had. With ``--device cpu`` it is a
dry run, whose times tell nothing about a GPU.
"""

from __future__ import annotations

import time

STARTED = time.perf_counter()
"""Before PyTorch is imported, which takes its share of the time."""
