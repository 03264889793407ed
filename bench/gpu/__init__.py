"""Everything that only a GPU can show, in one command: `make gpu`, or `python -m bench.gpu`. It needs no network.

    python -m bench.gpu                       # all checks within 570 seconds; bench/results/gpu.json and gpu.md
    python -m bench.gpu --only nf4 packing    # some of them
    python -m bench.gpu --small               # every check in a small form, also on a CPU
    python -m bench.gpu --list                # their names, kinds and seconds

Each check runs in a process of its own with a time of its own, so that a crash, a lack of memory or a hanging kernel ends that
check alone. A result is written as soon as there is one. A check of correctness passes or fails, a measurement gives figures,
and one that cannot run here says why.
The command ends with 0; with 1 if a check failed or crashed; with 3 if there is no GPU.
"""
