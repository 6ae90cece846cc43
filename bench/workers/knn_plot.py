"""Draw how the cost of kNN grows: ``knn_plot.py POINTS.json PICTURE.svg``."""

import json
import sys
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt

COLOURS = {"exact": "#8a8f98", "auto": "#0b6e99"}
PANELS = {"p50_ms": "one query, median (ms)", "build_s": "build and tune (s)"}


def main() -> None:
    points = json.loads(Path(sys.argv[1]).read_text())
    mpl.rcParams.update({"font.size": 10, "svg.hashsalt": "featx", "svg.fonttype": "none"})
    figure, panels = plt.subplots(1, len(PANELS), figsize=(9, 3.6), layout="constrained")
    for panel, (key, title) in zip(panels, PANELS.items(), strict=True):
        for name, found in points.items():
            sizes, values = [each["rows"] for each in found], [each[key] for each in found]
            panel.loglog(sizes, values, "o-", color=COLOURS[name], label=name, markersize=4)
            if key == "p50_ms" and name == "auto":
                for each in found:
                    place = (each["rows"], each[key])
                    text = {"textcoords": "offset points", "xytext": (0, -14), "ha": "center"}
                    panel.annotate(each["kind"], place, fontsize=8, color=COLOURS[name], **text)
        panel.set_title(title)
        panel.set_xlabel("vectors of 384 numbers")
        panel.grid(visible=True, which="major", color="#e3e5e8")
        panel.spines[["top", "right"]].set_visible(False)
        panel.margins(0.08, 0.14)
    panels[0].legend(frameon=False)
    figure.savefig(sys.argv[2], metadata={"Date": None}, facecolor="white")


if __name__ == "__main__":
    main()
