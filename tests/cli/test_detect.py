"""vlm detect and vlm segment: what is handed to the models, what is written, and what is refused before they load."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.cli.fakes import FakeDetector, FakeDual, FakeModel, FakeSegmenter, run
from vlmcli.catalog import Catalog

pytestmark = pytest.mark.usefixtures("here")


def test_detect_passes_everything_on(here: Path) -> None:
    (here / "labels.txt").write_text("a bird\n\n", encoding="utf-8")
    detector = FakeDetector()
    outcome = run(
        *("detect", "a.png", "b.png", "a cat", "-l", "a dog", "--labels", "labels.txt", "--threshold", "0.2"),
        *("--top", "3", "--nms", "0.5", "--template", "a photo of {}", "-m", "tiny", "--json"),
        model=detector,
    )
    assert outcome.code == 0 and outcome.loaded[0]["kind"] == "detector"
    assert detector.calls == [
        (
            "detect",
            (("a.png", "b.png"), ("a cat", "a dog", "a bird")),
            {"query_image": None, "template": "a photo of {}", "threshold": 0.2, "nms": 0.5, "top": 3},
        )
    ]
    assert json.loads(outcome.stdout)["detections"][0]["box"] == [10.0, 20.0, 40.25, 50.0]


def test_detect_by_example() -> None:
    detector = FakeDetector()
    assert run("detect", "a.png", "--query-image", "b.png", "-m", "tiny", model=detector).code == 0
    assert detector.calls[0][1] == (("a.png",), ()) and detector.calls[0][2]["query_image"] == "b.png"


def test_detect_leaves_thresholds_to_the_family() -> None:
    detector = FakeDetector()
    run("detect", "a.png", "cat", "-m", "tiny", model=detector)
    assert detector.calls[0][2]["threshold"] is detector.calls[0][2]["nms"] is None


def test_detect_writes_pictures_and_coco(here: Path) -> None:
    outcome = run("detect", "a.png", "cat", "-m", "tiny", "-o", "out.png", "--coco", "out.json", model=FakeDetector())
    assert outcome.code == 0, outcome.stderr
    with Image.open(here / "out.png") as picture:
        assert picture.format == "PNG" and picture.size == (480, 320)
    assert len(json.loads((here / "out.json").read_text())["annotations"]) == 2
    assert sorted(path.name for path in here.iterdir()) == ["a.png", "b.png", "out.json", "out.png"]


def test_pictures_of_several_images_go_into_a_folder(here: Path) -> None:
    argv = ("detect", "a.png", "b.png", "a.png", "cat", "-m", "tiny", "-o", "out")
    assert run(*argv, model=FakeDetector()).code == 0
    assert sorted(path.name for path in (here / "out").iterdir()) == ["a-1.png", "a-2.png", "b.png"]
    again = run(*argv, model=FakeDetector())
    assert again.code == 3 and "not empty" in again.stderr and not again.loaded
    assert run(*argv, "--force", model=FakeDetector()).code == 0


def test_nothing_found_is_no_failure() -> None:
    outcome = run("detect", "a.png", "nothing", "-m", "tiny", model=FakeDetector())
    assert (outcome.code, outcome.stdout) == (0, "")
    assert "nothing scores above 0.1" in outcome.stderr
    outcome = run("detect", "a.png", "nothing", "-m", "tiny", "--json", model=FakeDetector())
    assert outcome.code == 0 and json.loads(outcome.stdout)["detections"] == []


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (("detect", "a.png"), 2, "no label"),
        (("detect", "cat"), 2, "no image"),
        (("detect", "missing.png", "cat"), 3, "no such file"),
        (("detect", "a.png", "cat", "--query-image", "b.png"), 2, "exclude each other"),
        (("detect", "a.png", "cat", "--threshold", "2"), 2, "at most 1"),
        (("detect", "a.png", "cat", "--nms", "nan"), 2, "nan"),
        (("detect", "a.png", "cat", "--top", "0"), 2, "at least 1"),
        (("detect", "a.png", "cat", "--template", "photo"), 2, "{}"),
        (("detect", "a.png", "cat", "-o", "b.png"), 3, "exists already"),
        (("detect", "a.png", "cat", "-o", "out.txt"), 2, "does not end in"),
        (("detect", "a.png", "cat", "-o", "no/out.png"), 3, "folder does not exist"),
        (("detect", "a.png", "b.png", "cat", "-o", "a.png"), 3, "no folder"),
        (("detect", "a.png", "b.png", "cat", "-o", "no/out"), 3, "folder does not exist"),
        (("detect", "a.png", "cat", "--coco", "out.txt"), 2, "does not end in .json"),
        (("segment", "a.png"), 2, "nothing to segment"),
        (("segment", "--point", "1,1"), 2, "no image"),
        (("segment", "a.png", "b.png", "--point", "1,1"), 2, "one at a time"),
        (("segment", "a.png", "--point", "1"), 2, "--point cannot be '1'"),
        (("segment", "a.png", "--point", "1,nan"), 2, "--point 120,80"),
        (("segment", "a.png", "--point", "1,1", "--negative", "x,y"), 2, "--negative cannot be"),
        (("segment", "a.png", "--box", "1,2,3"), 2, "--box cannot be"),
        (("segment", "a.png", "--box", "5,5,5,9"), 2, "no area"),
        (("segment", "a.png", "cat", "--point", "1,1"), 2, "exclude each other"),
        (("segment", "a.png", "--everything", "--point", "1,1"), 2, "exclude each other"),
        (("segment", "a.png", "--everything", "--grid", "0"), 2, "at least 1"),
        (("segment", "a.png", "--point", "1,1", "--detector", "owl"), 2, "belong to labels"),
        (("segment", "a.png", "--everything", "--top", "3"), 2, "belong to labels"),
        (("segment", "a.png", "--point", "1,1", "-o", "a.png"), 3, "exists already"),
        (("segment", "a.png", "--point", "1,1", "--cutout", "cut.jpg"), 2, "does not end in .png"),
        (("segment", "a.png", "--point", "1,1", "--mask-dir", "."), 3, "not empty"),
        (("segment", "a.png", "--point", "1,1", "--mask-dir", "a.png"), 3, "no folder"),
    ],
)
def test_mistakes_are_one_line_before_a_model_is_loaded(argv: tuple[str, ...], code: int, message: str) -> None:
    outcome = run(*argv, "-m", "tiny", model=FakeSegmenter() if argv[0] == "segment" else FakeDetector())
    assert outcome.code == code and message in outcome.stderr, outcome.stderr
    assert outcome.stderr.count("\n") == 1 and not outcome.loaded


def test_a_folder_that_cannot_be_written(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the user that may do everything, a folder's permissions say nothing: the error itself is made."""

    def refuse(self: Path, *args: Any, **kwargs: Any) -> Any:
        raise PermissionError(13, "Permission denied", str(self))

    (here / "out").mkdir()
    monkeypatch.setattr(Path, "open", refuse)
    outcome = run("segment", "a.png", "--point", "1,1", "--mask-dir", "out", "-m", "tiny", model=FakeSegmenter())
    assert outcome.code == 3 and "cannot write into out: permission denied" in outcome.stderr


@pytest.mark.parametrize("model", [FakeDual(), FakeModel(), FakeSegmenter()])
def test_a_model_of_another_kind_names_what_fits_it(model: Any) -> None:
    outcome = run("detect", "a.png", "cat", "-m", "tiny", model=model)
    assert outcome.code == 2 and "cannot do detect" in outcome.stderr
    assert {FakeDual: "vlm zeroshot", FakeModel: "vlm ask", FakeSegmenter: "vlm segment"}[type(model)] in outcome.stderr


def test_without_a_model_the_built_in_ones_are_taken() -> None:
    models = {"detector": FakeDetector(), "segmenter": FakeSegmenter()}
    outcome = run("segment", "a.png", "a cat", load=lambda **options: models[options["kind"]])
    assert [(made["kind"], made["model"]) for made in outcome.loaded] == [("detector", None), ("segmenter", None)]
    assert "using picturebook-masks" in outcome.stderr
    assert "using picturebook-boxes" in run("detect", "a.png", "a cat", model=FakeDetector()).stderr


def test_segment_passes_points_and_boxes_on() -> None:
    segmenter = FakeSegmenter()
    outcome = run(
        *("segment", "a.png", "--point", "1,2", "--point", "3.5,1", "--negative", "0,0", "--box", "0,0,5,4"),
        *("-m", "tiny", "--json"),
        model=segmenter,
    )
    assert outcome.code == 0 and outcome.loaded[0]["kind"] == "segmenter"
    points = {"points": [(1, 2), (3.5, 1)], "negative": [(0, 0)], "boxes": [(0, 0, 5, 4)], "each": False}
    assert segmenter.calls == [("segment", ("a.png", ()), points)]
    (mask,) = json.loads(outcome.stdout)["masks"]
    assert mask["rle"]["size"] == [4, 6] and mask["area"] == 4


def test_segment_everything() -> None:
    segmenter = FakeSegmenter()
    argv = ("--grid", "8", "--min-iou", "0.5", "--min-stability", "0.6", "--nms", "0.4")
    assert run("segment", "a.png", "--everything", *argv, "-m", "tiny", model=segmenter).code == 0
    limits = {"grid": 8, "min_iou": 0.5, "min_stability": 0.6, "nms": 0.4}
    assert segmenter.calls == [("everything", ("a.png",), limits)]


def test_labels_go_through_a_detector(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both models are loaded with the same options; the detector is named by the flag or a setting."""
    segmenter, detector = FakeSegmenter(), FakeDetector()

    def load(**options: Any) -> Any:
        return {"detector": detector, "segmenter": segmenter}[options["kind"]]

    outcome = run("segment", "a.png", "a cat", "--detector", "owl", "-m", "sam", "--threshold", "0.3", load=load)
    assert outcome.code == 0, outcome.stderr
    assert [(options["kind"], options["model"]) for options in outcome.loaded] == [
        ("detector", "owl"),
        ("segmenter", "sam"),
    ]
    (_, asked, how) = segmenter.calls[0]
    assert asked == ("a.png", ("a cat",)) and how["detector"] is detector and how["threshold"] == 0.3
    monkeypatch.setenv("VLM_DETECTOR", "other")
    outcome = run("segment", "a.png", "a cat", "-m", "sam", load=load)
    assert outcome.loaded[0]["model"] == "other"
    outcome = run("segment", "a.png", "a cat", "-m", "sam", load=lambda **options: FakeDual())
    assert outcome.code == 2 and "cannot do detect" in outcome.stderr


def test_segment_writes_masks_overlay_and_cutout(here: Path) -> None:
    argv = ("--mask-dir", "masks", "-o", "over.jpg", "--cutout", "cut.webp", "--coco", "found.json")
    assert run("segment", "a.png", "--everything", *argv, "-m", "tiny", model=FakeSegmenter()).code == 0
    assert sorted(path.name for path in (here / "masks").iterdir()) == ["001.png", "002.png"]
    with Image.open(here / "masks" / "001.png") as mask:
        assert (mask.mode, mask.size, mask.getbbox()) == ("L", (6, 4), (0, 0, 2, 1))
    with Image.open(here / "cut.webp") as cut:
        assert cut.mode == "RGBA" and cut.getchannel("A").getextrema() == (0, 255)
    with Image.open(here / "over.jpg") as over:
        assert over.format == "JPEG"
    assert len(json.loads((here / "found.json").read_text())["annotations"]) == 2


def test_masks_of_labels_carry_their_names(here: Path) -> None:
    load = lambda **options: FakeDetector() if options["kind"] == "detector" else FakeSegmenter()  # noqa: E731
    argv = ("segment", "a.png", "a cat/../x", "--detector", "owl", "-m", "sam", "--mask-dir", "masks")
    assert run(*argv, load=load).code == 0
    assert [path.name for path in (here / "masks").iterdir()] == ["001-a-cat-x.png"]


def test_models_show_names_the_commands_that_fit() -> None:
    reading = ["ask", "topk", "score", "choose", "check"]
    looking_inside = ["attribute", "trace", "lens", "knockout", "compare"]
    fitting = {
        "owlv2-base": ["detect", "inspect", "segment --detector"],
        "sam2.1-tiny": ["segment", "inspect"],
        "picturebook-boxes": ["detect", "inspect", "segment --detector"],
        "picturebook-masks": ["segment", "inspect"],
        "clip-vit-b32": ["zeroshot", "embed", "inspect"],
        "vit-b16": ["classify", "inspect"],
        "smollm2-135m": [*reading, "trace", "lens", "compare", "inspect", "bench"],
        "picturebook": [*reading, *looking_inside, "inspect", "bench"],
        "picturebook-draw": ["draw", "inspect"],
        "janus-pro-1b": [*reading, *looking_inside, "draw", "inspect", "bench"],
    }
    for name, commands in fitting.items():
        assert json.loads(run("models", "show", name, "--json").stdout)["commands"] == commands
        assert f"commands    {', '.join(commands)}" in run("models", "show", name).stdout
    for kind in {spec.kind for spec in Catalog.load().specs()}:
        name = next(spec.name for spec in Catalog.load().specs() if spec.kind == kind)
        assert json.loads(run("models", "show", name, "--json").stdout)["commands"], kind
