"""What a profile looks like in a notebook: a small table, with a bar of where the cycles went.

In: a profile. Out: HTML with its own styles, which takes on the notebook's colours.
"""

from __future__ import annotations

from html import escape

from .profile import KernelProfile, Profile
from .report import cause_of
from .run_facts import count, limit_text, percent, short

_CELL = "padding:.15rem .6rem;text-align:right;white-space:nowrap"
_COLUMNS = (
    "kernel",
    "engine",
    "A",
    "B",
    "effective",
    "cycles",
    "time us",
    "limit",
    "cycles went to",
)


def profile_table(profile: Profile) -> str:
    """Title, one row a launch, and the first sentence on what limits the run."""
    head = "".join(f'<th style="{_CELL}">{c}</th>' for c in _COLUMNS)
    rows = "".join(_row(k) for k in profile.kernels)
    title = f"<b>{escape(profile.title)}</b>"
    if profile.timed:
        title += f": {count(profile.cycles)} cycles, {profile.time_us:.1f} us with launches"
    said = "".join(
        f"<li>{escape((k.name if k else 'The run') + ': ' + a.what + ' ' + a.option)}</li>"
        for k, a in profile.advice[:2]
    )
    return (
        f'<div style="font-variant-numeric:tabular-nums">{title}'
        f'<table style="border-collapse:collapse"><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table>{f'<ul>{said}</ul>' if said else ''}</div>"
    )


def _row(k: KernelProfile) -> str:
    row = k.row
    texts = (
        k.name, k.engine or "-", percent(row["a_density"]), percent(row["b_density"]),
        short(row["macs_effective"]) if row["macs_effective"] else "-", count(k.cycles),
        f"{k.time_us:.1f}", limit_text(k.limit),
    )  # fmt: skip
    cells = "".join(f'<td style="{_CELL}">{escape(text)}</td>' for text in texts)
    return f'<tr>{cells}<td style="{_CELL}">{_bar(k)}</td></tr>'


def _bar(k: KernelProfile) -> str:
    """Where the cycles of a launch went."""
    parts: list[str] = []
    for cause, cycles in k.stalls.items():
        if cycles:
            label, colour = cause_of(cause)
            share = cycles / k.sub_core_cycles
            parts.append(
                f'<i title="{label}: {percent(share)}" style="display:inline-block;height:.8rem;'
                f'width:{100 * share:.2f}%;background:{colour}"></i>'
            )
    style = "display:inline-block;width:14rem;line-height:0;vertical-align:middle"
    return f'<span style="{style}">{"".join(parts)}</span>'
