"""What it costs the programs of a Triton kernel to meet once: the floor under every step of a recurrent layer.

    python -m tests.bench.gpu_barrier                              on a CUDA device
    TRITON_INTERPRET=1 python -m tests.bench.gpu_barrier --check   anywhere, with one program, for the code's sake

Each step of the cells' kernels ends with such a meeting, because every program needs all units of h[t-1]. A layer of H
units has H / 16 programs in each direction: 32 at H 512.
"""

import argparse

import torch
import triton
import triton.language as tl

NUM_MEETINGS = 10_000


@triton.jit
def meet_often(counter, num_meetings, PROGRAMS: tl.constexpr):
    number = 1
    while number <= num_meetings:
        tl.debug_barrier()
        tl.atomic_add(counter, 1, sem="release")
        while tl.atomic_add(counter, 0, sem="acquire") < number * PROGRAMS:
            pass
        tl.debug_barrier()
        number += 1


def milliseconds(num_programs: int, num_meetings: int) -> float:
    """The least of five launches."""
    times = []
    for _ in range(5):
        counter = torch.zeros(1, dtype=torch.int32, device="cuda")
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        meet_often[(num_programs,)](counter, num_meetings, PROGRAMS=num_programs, launch_cooperative_grid=True)
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end))
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="one program in Triton's interpreter, nothing timed")
    if parser.parse_args().check:
        counter = torch.zeros(1, dtype=torch.int32)
        meet_often[(1,)](counter, 3, PROGRAMS=1)
        assert counter.item() == 3
        return
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, triton {triton.__version__}")
    print("| programs | microseconds a meeting |\n|---|---|")
    for num_programs in (1, 2, 8, 16, 32, 64, 128):
        alone = milliseconds(num_programs, 1)
        print(f"| {num_programs} | {1e3 * (milliseconds(num_programs, NUM_MEETINGS) - alone) / NUM_MEETINGS:.2f} |")


if __name__ == "__main__":
    main()
