"""The learning rate of each step: up quickly, then down to nothing."""

WARM_UP = 0.1
"""Share of the steps in which the learning rate rises."""


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Return the learning rate of a step: linear up to `peak`, then linear down toward 0.

    Parameters
    ----------
    step : int
        From 0.
    steps : int
        Planned in all.
    peak : float

    Examples
    --------
    >>> [learning_rate(step, 20, 1.0) for step in (0, 1, 2, 11, 19)]
    [0.5, 1.0, 1.0, 0.5, 0.05555555555555555]
    """
    rising = max(1, round(WARM_UP * steps))
    if step < rising:
        return peak * (step + 1) / rising
    return peak * max(0, steps - step) / max(1, steps - rising)
