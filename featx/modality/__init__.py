"""Kinds of input.  Adding a kind is one file and one line here."""

MODALITIES = {
    "array": "featx.modality.array:Array",
    "audio": "featx.modality.audio:Audio",
    "image": "featx.modality.image:Image",
    "text": "featx.modality.text:Text",
}
