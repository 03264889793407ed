"""What the processes of test_launcher.py do, as the environment says: JOB, and in which process (RANK of VICTIM)."""

import os
import signal
import time
from pathlib import Path

import torch

import stages
from yoyak.system.errors import YoyakError
from yoyak.system.processes import rank
from yoyak.training.process_group import processes_together, share


def main() -> None:
    job, is_victim = os.environ["JOB"], rank() == int(os.environ["VICTIM"])
    facts = {"data": str(rank()) if job == "other data" else "a", "code": "b"}
    with processes_together(facts):
        assert share(rank()) == [0, 1]
        if is_victim and job == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if is_victim and job == "hang":
            time.sleep(600)
        if is_victim and job == "error":
            raise YoyakError("this is wrong")
        if is_victim and job == "bug":
            raise KeyError("a bug")
        total = torch.tensor([1.0])
        torch.distributed.all_reduce(total)
        Path(f"done-{rank()}").write_text(f"{total.item()}", encoding="utf-8")


if __name__ == "__main__":
    with stages.exit_of_stage():
        main()
