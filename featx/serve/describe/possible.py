"""Possible: which operations can succeed for the thing that is served."""

from collections.abc import Callable, Mapping

from featx.serve.describe.operation import Need, Operation
from featx.serve.service import Service

READ_ONLY = "It is served to be read only, so that this is refused."


def is_possible(operation: Operation, service: Service) -> bool:
    """Return whether an operation can succeed, or could, were the gallery not read only."""
    return _MET[operation.needs](service)


def is_refused(operation: Operation, service: Service) -> bool:
    """Return whether an operation is refused since nothing may be taught."""
    return operation.needs == "teacher" and service.teacher is None


def _is_gallery(service: Service) -> bool:
    return service.engine.thing.gallery is not None


def _gives_labels(service: Service) -> bool:
    """Return whether there are labels, or may be once they are taught."""
    return service.engine.thing.can_classify or service.teacher is not None


def _has_pictures(service: Service) -> bool:
    return _is_gallery(service) and service.engine.thing.modality == "image"


_MET: Mapping[Need, Callable[[Service], bool]] = {
    "": lambda _: True,
    "labels": _gives_labels,
    "gallery": _is_gallery,
    "pictures": _has_pictures,
    "teacher": _is_gallery,
}
"""What an operation needs → whether it is there."""
