"""Confidence intervals of a share."""

import math

# Standard normal quantile of 97.5 %.
_Z95 = 1.959963984540054


def wilson_interval(hits: float, n: float) -> tuple[float, float]:
    """Return the 95 % interval of a share of `hits` in `n` (Wilson 1927).

    Unlike the normal approximation it stays within [0, 1] and has width when all are hits.
    With `n` = 0 nothing is known, and it is (0, 1).  Neither needs to be whole.

    Examples
    --------
    >>> [round(end, 3) for end in wilson_interval(9, 10)]
    [0.596, 0.982]
    """
    if n == 0:
        return 0.0, 1.0
    share, z2 = hits / n, _Z95**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    # Rounding may not put the share itself outside.
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))
