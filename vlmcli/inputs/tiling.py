"""AnyRes: a large picture as tiles of the encoder's own size, with a thumbnail of the whole.

The way of LLaVA-NeXT (Liu et al. 2024) in the form of InternVL 1.5 (arXiv 2404.16821) and NVLM (arXiv 2409.11402): the
picture is resized to the grid whose aspect ratio is nearest to its own, and cut.
"""

from __future__ import annotations

from PIL import Image


def grid(width_px: int, height_px: int, side_px: int, max_tiles: int) -> tuple[int, int]:
    """(columns, rows) of the grid of at most ``max_tiles`` tiles whose shape is nearest to the picture's.

    Of two grids of the same shape the finer one is taken only if the picture has pixels enough for half of it.
    """
    aspect, area = width_px / height_px, width_px * height_px
    best, nearest = (1, 1), abs(aspect - 1)
    grids = [(c, r) for c in range(1, max_tiles + 1) for r in range(1, max_tiles + 1) if c * r <= max_tiles]
    for columns, rows in sorted(grids, key=lambda g: g[0] * g[1]):
        off = abs(aspect - columns / rows)
        if off < nearest or (off == nearest and area > side_px**2 * columns * rows / 2):
            best, nearest = (columns, rows), off
    return best


def crops(image: Image.Image, side_px: int, max_tiles: int) -> list[Image.Image]:
    """The thumbnail, and the tiles from left to right and from top to bottom; a 1 x 1 grid is the thumbnail alone."""
    columns, rows = grid(*image.size, side_px, max_tiles)
    thumbnail = image.resize((side_px, side_px), Image.Resampling.BICUBIC)
    if (columns, rows) == (1, 1):
        return [thumbnail]
    large = image.resize((columns * side_px, rows * side_px), Image.Resampling.BICUBIC)
    corners = [(c * side_px, r * side_px) for r in range(rows) for c in range(columns)]
    return [thumbnail, *(large.crop((x, y, x + side_px, y + side_px)) for x, y in corners)]
