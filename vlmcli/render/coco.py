"""What was found, as a file in the format of COCO's annotations (cocodataset.org, "Data format").

It is read back by pycocotools and by the tools for labelling that read COCO files. ``score`` is an addition, which they
pass on or leave alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vlmcli.render.objects import Object, clean, finite
from vlmcli.types.detect import Box, Detections
from vlmcli.types.result import ImageInfo, ModelInfo
from vlmcli.types.segment import Rle, Segmentation

_THING = "thing"
"""The category of a mask that has no label."""


def detections_coco(result: Detections) -> Object:
    """Boxes by image; ids count from 1, categories are the labels in the order in which they were given."""
    names = list(dict.fromkeys(result.labels))
    annotations = [
        _annotation(image, names.index(detection.label) + 1, detection.box, _area(detection.box), detection.score)
        for image, found in enumerate(result.found, start=1)
        for detection in found
    ]
    return _file(result.model, result.images, names, annotations)


def segmentation_coco(result: Segmentation) -> Object:
    """Masks with their boxes; a mask's score is its detector's, else the model's guess at its IoU."""
    names = list(dict.fromkeys(mask.label or _THING for mask in result.masks))
    annotations = [
        _annotation(
            1,
            names.index(mask.label or _THING) + 1,
            mask.box,
            float(mask.area),
            mask.iou if mask.score is None else mask.score,
        )
        | {"segmentation": rle_object(mask.rle)}
        for mask in result.masks
    ]
    return _file(result.model, (result.image,), names, annotations)


def rle_object(rle: Rle) -> Object:
    """A mask as pycocotools reads it: ``size`` is [height, width]."""
    return {"size": list(rle.size), "counts": rle.counts}


def _file(
    model: ModelInfo, images: Sequence[ImageInfo], names: Sequence[str], annotations: Sequence[Object]
) -> dict[str, Any]:
    return {
        "info": {"description": f"found by {clean(model.id)} with vlm"},
        "images": [
            {"id": i, "file_name": clean(image.source), "width": image.original[0], "height": image.original[1]}
            for i, image in enumerate(images, start=1)
        ],
        "categories": [{"id": i, "name": clean(name)} for i, name in enumerate(names, start=1)],
        "annotations": [{"id": i, **annotation} for i, annotation in enumerate(annotations, start=1)],
    }


def _annotation(image: int, category: int, box: Box, area: float, score: float) -> Object:
    x0, y0, x1, y1 = box
    return {
        "image_id": image,
        "category_id": category,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": area,
        "iscrowd": 0,
        "score": finite(score),
    }


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
