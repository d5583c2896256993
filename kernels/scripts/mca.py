#!/usr/bin/env python3
"""Cycles per block of the register tiles, estimated by llvm-mca.

    cargo rustc -p deltavlm-kernels --release --lib --target aarch64-unknown-linux-gnu -- \
        --emit asm -C codegen-units=1
    kernels/scripts/mca.py target/aarch64-unknown-linux-gnu/release/deps/deltavlm_kernels-*.s

The same without `--target` gives the tiles of x86-64. It needs Debian's
`llvm-19`.

A full tile takes one block of 32 values of each of its rows and columns at a
time. The script finds the loop over blocks, writes inner loops out as often as
they run, and gives the straight line to llvm-mca. What that does not know:
caches, the branch predictor, and, for Cortex-A76 and A78, their own pipelines,
for which LLVM uses the model of Cortex-A57 (3 instructions dispatched per
cycle). The peak is that of the multiplying instruction alone, in the same model.
A ratio of two versions says more than the cycles themselves.
"""

import argparse
import re
import subprocess
from typing import NamedTuple


class Tile(NamedTuple):
    name: str
    dot: str  # the instruction that multiplies
    registers: str  # the operands by which it is told from others
    dots: int  # per block
    convert: str  # integer to float: once for each vector of outputs
    vectors: int  # of outputs
    arch: list  # options of llvm-mca
    sample: str  # that instruction, `{}` for the accumulator
    cores: list


ARM = ["-march=aarch64", "-mattr=+dotprod,+i8mm"]
ARM_CORES = ["cortex-a76", "cortex-a78", "neoverse-n1", "neoverse-n2"]
X86 = ["-march=x86-64"]
SDOT = "sdot v{}.4s, v30.16b, v31.4b[0]"
SMMLA = "smmla v{}.4s, v30.16b, v31.16b"
MADD = "vpmaddubsw %ymm14, %ymm15, %ymm{}"
DOT_YMM = "{{vex}} vpdpbusd %ymm14, %ymm15, %ymm{}"
DOT_ZMM = "vpdpbusd %zmm14, %zmm15, %zmm{}"
TILES = [
    Tile("dotprod, 4 x 16", "sdot", "v", 128, "scvtf", 16, ARM, SDOT, ARM_CORES),
    Tile("i8mm, 8 x 8", "smmla", "v", 64, "scvtf", 16, ARM, SMMLA, ARM_CORES),
    Tile("avx2, 4 x 16", "vpmaddubsw", "%ymm", 64, "vcvtdq2ps", 8, X86, MADD, ["znver3", "skylake"]),
    Tile("avxvnni, 4 x 16", "vpdpbusd", "%ymm", 64, "vcvtdq2ps", 8, X86, DOT_YMM, ["alderlake"]),
    Tile(
        "avx512vnni, 6 x 32", "vpdpbusd", "%zmm", 96, "vcvtdq2ps", 12, X86, DOT_ZMM,
        ["icelake-server", "sapphirerapids", "znver4"],
    ),
]
BRANCH = re.compile(r"^\t(?:b|b\.\w+|cbn?z|tbn?z|j[a-z]+)\t(?:.*, )?(\.L\w+)$")
INSTRUCTION = re.compile(r"^\t(?:\{vex\}\t)?[a-z]")


def functions(path):
    """Name and lines of every function of an assembly file."""
    name, body = None, []
    for line in open(path):
        line = line.rstrip("\n")
        if re.match(r"^[_A-Za-z][\w.$]*:", line):
            name, body = line[:-1], []
        elif name:
            body.append(line)
            if ".cfi_endproc" in line:
                yield name, body
                name = None


def loops(body):
    """First and last line of every loop: a branch backwards and its target."""
    labels = {line[:-1]: i for i, line in enumerate(body) if re.match(r"^\.L\w+:$", line)}
    for i, line in enumerate(body):
        match = BRANCH.match(line)
        if match and labels.get(match[1], i) < i:
            yield labels[match[1]], i


def count(lines, mnemonic, registers=""):
    pattern = re.compile(rf"^\t(?:{{vex}}\t)?{mnemonic}\t.*{registers}")
    return sum(bool(pattern.match(line)) for line in lines)


def block_loops(body, tile):
    """Straight-line instructions of each loop over the blocks of a full tile."""
    nests = list(loops(body))
    for first, last in nests:
        block = body[first : last + 1]
        inner = [n for n in nests if n != (first, last) and first <= n[0] and n[1] <= last]
        if any(count(body[a : b + 1], tile.convert) for a, b in inner):
            continue  # a loop over tiles
        inner = [n for n in inner if count(body[n[0] : n[1] + 1], tile.dot)]
        dots = count(block, tile.dot, tile.registers)
        if not dots or count(block, tile.convert) != tile.vectors or tile.dots % dots:
            continue
        trips = tile.dots // dots
        if inner and sum(count(body[a : b + 1], tile.dot) for a, b in inner) != dots:
            continue
        if trips != 1 and not inner:
            continue
        lines, at = [], first
        for a, b in sorted(inner):
            lines += body[at:a] + body[a : b + 1] * trips
            at = b + 1
        lines += body[at : last + 1]
        yield [line for line in lines if INSTRUCTION.match(line) and not BRANCH.match(line)]


def cycles(lines, arch, core):
    """Cycles of one pass, in the steady state of many."""

    def total(passes):
        options = [f"-mcpu={core}", f"-iterations={passes}", "-instruction-info=0", "-resource-pressure=0"]
        text = "\n".join(lines) + "\n"
        run = subprocess.run(["llvm-mca-19", *arch, *options], input=text, capture_output=True, text=True)
        if run.returncode:
            raise SystemExit(f"llvm-mca-19: {run.stderr}")
        return int(re.search(r"Total Cycles:\s+(\d+)", run.stdout)[1])

    return (total(60) - total(20)) / 40


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("assembly", nargs="+", help="what `--emit asm` wrote")
    for path in parser.parse_args().assembly:
        for name, body in functions(path):
            for tile in TILES:
                for lines in block_loops(body, tile):
                    print(f"{path}: {tile.name}, {len(lines)} instructions per block, {name[-17:]}")
                    for core in tile.cores:
                        alone = [f"\t{tile.sample.format(i)}" for i in range(12)]
                        limit = cycles(alone, tile.arch, core) / len(alone) * tile.dots
                        c = cycles(lines, tile.arch, core)
                        print(f"  {core:14} {c:6.1f} cycles, {100 * limit / c:3.0f} % of the peak")


if __name__ == "__main__":
    main()
