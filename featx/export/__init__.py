"""Heads in forms that others read.  Adding a form is one function and one line here."""

FORMATS = {
    "joblib": "featx.export.files:save_joblib",
    "skops": "featx.export.files:save_skops",
}
"""Form → function of (path, head) that writes a file; the suffix of the file is the form's name."""
