"""Parts of example scripts for pictures."""

from string import Template

from featx.backbone.backbone import Backbone
from featx.errors import InputError
from featx.export.preprocessing import is_across_first
from featx.export.script_parts import Parts
from featx.modality.resizing import FILTERS, box_of, target_of
from featx.zoo.manifest import ImageOptions

_DECODE = '''
def decode(path):
    """Return an upright picture of 8 bits; what is transparent is laid on white."""
    image = ImageOps.exif_transpose(Image.open(path))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")
'''

_DECODE_BELOW = '''
def decode(path):
    """Return an upright picture of 8 bits; what is transparent shows the colours below."""
    image = ImageOps.exif_transpose(Image.open(path))
    image.info.pop("transparency", None)
    return image.convert("RGB")
'''

_PIXELS = """

def load(path):
    return {"pixels": np.asarray(decode(path))[None]}
"""


def pixel_parts(backbone: Backbone) -> Parts:
    """Return the parts of a script that leaves resizing to the graph."""
    return _parts(backbone, _PIXELS)


_PICTURE = Template('''

def load(path):
    image = decode(path)
    tall, wide = size(image)
    rows, columns = min(tall, $height), min(wide, $width)
    top, left = $first
    x, y = image.width / wide, image.height / tall
    box = (left * x, top * y, (left + columns) * x, (top + rows) * y)
$resize
    pixels = np.full(($height, $width, 3), $ground, dtype=np.float32)
    top, left = ($height - rows) // 2, ($width - columns) // 2
    pixels[top : top + rows, left : left + columns] = np.asarray(kept)${order}
    pixels = (pixels - np.float32($mean)) / np.float32($std)
    return {$name: pixels.transpose(2, 0, 1)[None]}


def size(image):
    """Return height and width of the whole picture once it is resized."""
$whole
''')


_RESIZE = """\
    kept = image.resize((columns, rows), Image.Resampling.$filter, box)"""

_RESIZE_ACROSS_FIRST = """\
    size_across, box_across = (columns, image.height), (box[0], 0, box[2], image.height)
    across = image.resize(size_across, Image.Resampling.$filter, box_across)
    box_down = (0, box[1], columns, box[3])
    kept = across.resize((columns, rows), Image.Resampling.$filter, box_down)"""


def image_parts(backbone: Backbone) -> Parts:
    """Return the parts of a script that resizes pictures.

    Raises
    ------
    InputError
        If Pillow does not resize as the backbone wants it.
    """
    options = backbone.manifest.image
    assert options is not None
    if not options.antialias:
        message = f"{backbone.manifest.name}: no example script for antialias = false"
        raise InputError(message)
    (name,) = backbone.manifest.inputs.values()
    height, width = target_of(options)
    is_floor = options.rounding == "transformers"
    halves = [
        f"(({side}) // 2)" if is_floor else f"round(({side}) / 2)"
        for side in ("tall - rows", "wide - columns")
    ]
    resize = _RESIZE_ACROSS_FIRST if is_across_first(options) else _RESIZE
    load = _PICTURE.substitute(
        height=height,
        width=width,
        first=", ".join(halves),
        resize=Template(resize).substitute(filter=FILTERS[options.interpolation].name),
        ground=list(options.fill or options.mean),
        order="[..., ::-1]" if options.channel_order == "bgr" else "",
        mean=list(options.mean),
        std=list(options.std),
        name=repr(name),
        whole=_whole(options),
    )
    return _parts(backbone, load)


def _parts(backbone: Backbone, load: str) -> Parts:
    options = backbone.manifest.image
    decode = _DECODE_BELOW if options and options.transparency == "drop" else _DECODE
    imports = "from PIL import Image, ImageOps"
    return Parts(items="PICTURE", needs=" and Pillow", imports=imports, load=decode + load)


def _whole(options: ImageOptions) -> str:
    tall, wide = map(round, box_of(options)) if options.resize != "none" else (0, 0)
    if options.resize == "none":
        return "    return image.height, image.width"
    if options.resize == "stretch":
        return f"    return {tall}, {wide}"
    if options.resize == "pad":
        return (
            f"    scale = min({wide} / image.width, {tall} / image.height)\n"
            "    return max(1, round(image.height * scale)), max(1, round(image.width * scale))"
        )
    whole = "round({} / {})" if options.rounding == "nearest" else "{} // {}"
    taller = whole.format(f"image.height * {wide}", "image.width")
    wider = whole.format(f"image.width * {tall}", "image.height")
    return (
        f"    if image.height * {wide} >= image.width * {tall}:\n"
        f"        return {taller}, {wide}\n"
        f"    return {tall}, {wider}"
    )
