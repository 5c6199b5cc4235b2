# SPDX-License-Identifier: Apache-2.0
"""Programs as text: what `report()` and `graph()` of a captured function show."""

from __future__ import annotations

from typing import Any


def _shown(operand: Any) -> str:
    """The dtype and shape of a step's operand."""
    if operand is None:
        return "-"
    return f"{str(operand[3]).removeprefix('torch.')}{list(operand[2])}"


def report_of(title: str, program: dict[str, Any]) -> list[str]:
    """A program's launches, and what is known of each, in lines."""
    steps = program["steps"]
    text = [
        f"{title}: {program['n_recorded']} launches recorded, {len(steps)} after fusion; "
        f"arena {program['arena_bytes']:,} bytes (eager: {program['eager_bytes']:,}); "
        f"{program['replays']} replays"
    ]
    if graphs := program["graphs"]:
        inside = sum(end - begin for begin, end in graphs)
        text.append(f"  {inside} of the launches in {len(graphs)} CUDA graphs")
    seconds = program["seconds"] or [float("nan")] * len(steps)
    for step, time in zip(steps, seconds, strict=True):
        shapes = ", ".join(_shown(operand) for operand in step["outputs"])
        text.append(f"  {time * 1e6:9.2f} us  {step['op']:<28} {shapes:<24} {step['line']}")
    return text


def graph_of(steps: list[dict[str, Any]]) -> str:
    """The steps in the language of Graphviz."""
    lines = ["digraph program {", "  rankdir=TB; node [shape=box, fontname=monospace];"]
    made_by: dict[int, str] = {}
    for number, step in enumerate(steps):
        name = f"s{number}"
        lines.append(f'  {name} [label="{step["op"]}", tooltip="{step["line"]}"];')
        for operand in step["inputs"]:
            if operand is None:
                continue
            place, home = operand[:2]
            if place not in made_by:
                made_by[place] = f"p{place}"
                label = f"{home} {place}\\n{_shown(operand)}"
                lines.append(f'  p{place} [shape=ellipse, label="{label}"];')
            lines.append(f"  {made_by[place]} -> {name};")
        for operand in step["outputs"]:
            if operand is not None:
                made_by[operand[0]] = name
    return "\n".join([*lines, "}"])
