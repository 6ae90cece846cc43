"""Heads in forms that others read: estimators of scikit-learn, and one ONNX file.

Adding a form of estimators is one function and one line here.
"""

FORMATS = {
    "joblib": "featx.export.files:save_joblib",
    "skops": "featx.export.files:save_skops",
}
"""Form → function of (path, head) that writes a file; the suffix of the file is the form's name."""

DEPLOYABLE = "onnx"
"""Form, and suffix, of a file that holds the backbone too."""
