"""What a picture in a file shows."""

from typing import Any


def upright(image: Any) -> Any:
    """Return an image in colours, turned as its file says, on white where it is clear.

    The colours that a file has there are none that anyone sees: often all are black.

    Parameters
    ----------
    image : PIL.Image.Image
        As its file was opened.
    """
    from PIL import Image, ImageOps

    turned = ImageOps.exif_transpose(image)
    if not turned.has_transparency_data:
        return turned.convert("RGB")
    page = Image.new("RGBA", turned.size, "white")
    page.alpha_composite(turned.convert("RGBA"))
    return page.convert("RGB")
