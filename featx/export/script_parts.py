"""What example scripts of different modalities differ in."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Parts of a script.

    Attributes
    ----------
    items : str
        What its command line names.
    load : str
        The function ``load``, which makes inputs of an item, and what that needs.
    needs : str
        Packages that it needs besides, in words.
    standard, imports : str
        Import lines: of the standard library, and of other packages.
    """

    items: str
    load: str
    needs: str = ""
    standard: str = ""
    imports: str = ""
