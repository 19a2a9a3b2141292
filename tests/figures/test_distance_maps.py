"""The figures for a paper: the parts they promise, one scale, letters that never meet, arrows that end where told."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch, Rectangle
from matplotlib.text import Annotation, Text

from feelvos_lab.data.clip import Clip
from feelvos_lab.data.images import PALETTE
from feelvos_lab.errors import LabError
from feelvos_lab.figures import distance_maps, page, style
from feelvos_lab.inference.matches import PixelMatches
from feelvos_lab.inference.propagation import Prediction
from feelvos_lab.model.feelvos import Cues

FRAMES, HEIGHT, WIDTH, ROWS, COLUMNS = 6, 40, 48, 10, 12
IDS = (1, 3)
WIDTHS = (style.COLUMN, style.PAGE)
LINKS = [PixelMatches((2, 3), (1, 1), 0.0, (2, 4), 0.25), PixelMatches((8, 9), (6, 2), 0.5, None, 1.0)]


@pytest.fixture
def clip() -> Clip:
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (FRAMES, 3, HEIGHT, WIDTH), generator=generator, dtype=torch.uint8)
    masks = torch.zeros(FRAMES, HEIGHT, WIDTH, dtype=torch.int64)
    masks[:, 5:15, 4:14], masks[:, 20:30, 20:30] = 1, 3
    return Clip("pair", frames, masks, IDS)


def predictions(clip: Clip, *, without: str = "") -> dict[int, Prediction]:
    generator, found = torch.Generator().manual_seed(1), {}
    for t in range(1, len(clip)):
        maps = {n: torch.rand(3, ROWS, COLUMNS, generator=generator) for n in distance_maps.CUES[2:5]}
        cues = {n: None if n == without else m for n, m in maps.items()}
        embeddings = torch.rand(2, ROWS, COLUMNS, generator=generator)
        found[t] = Prediction(
            t, clip.masks[-1], torch.zeros(3, HEIGHT, WIDTH), Cues(**cues, features=None, embeddings=embeddings)
        )
    return found


def draw(layout: str, clip: Clip, width: float = style.PAGE, radius: int | None = 2, without: str = "") -> Figure:
    seen = predictions(clip, without=without)
    if layout == "sheet":
        return distance_maps.sheet(clip, seen[3], objects=IDS, width=width, radius=radius)
    if layout == "strip":
        return distance_maps.strip(clip, seen, objects=IDS, frames=[1, 3, 5], width=width, radius=radius)
    return distance_maps.arrows(clip, seen[3], LINKS, object_id=3, before=clip.masks[-1], width=width, radius=radius)


def texts(figure: Figure) -> list[str]:
    return [t.get_text() for t in figure.findobj(Text) if t.get_text()]


def panels(figure: Figure) -> list[Axes]:
    """All but the colour bars, in the order in which they were drawn."""
    return [a for a in figure.axes if a.get_label().startswith("part") and (a.images or a.patch.get_hatch())]


def images(figure: Figure, colours: str) -> list[np.ndarray]:
    return [np.asarray(i.get_array()) for a in panels(figure) for i in a.images if i.get_cmap().name == colours]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("layout", ["sheet", "strip", "arrows"])
def test_no_letters_meet_or_leave_the_page_and_all_have_eight_points(layout, width, clip):
    long = Clip(
        "a clip with a name that no column of a paper has the room for, nor a page", *list(vars(clip).values())[1:]
    )
    for shown in (clip, long):
        figure = draw(layout, shown, width)
        FigureCanvasAgg(figure).draw()
        written = [t for t in figure.findobj(Text) if t.get_text().strip() and t.get_visible()]
        assert {t.get_fontsize() for t in written} == {8.0} and figure.get_figwidth() == width
        boxes = [t.get_window_extent() for t in written]
        sheet = figure.bbox.padded(1)
        for number, (text, box) in enumerate(zip(written, boxes, strict=True)):
            assert sheet.x0 <= box.x0 and box.x1 <= sheet.x1 and sheet.y0 <= box.y0 and box.y1 <= sheet.y1, text
            meets = [written[i] for i in range(number) if boxes[i].overlaps(box)]
            assert not meets, (text, meets)
            if not isinstance(text, Annotation):  # a cell's number stands on its picture
                assert not [a for a in panels(figure) if a.get_window_extent().padded(-1).overlaps(box)], text


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("layout", "count"), [("sheet", 12), ("strip", 15), ("arrows", 3)])
def test_a_layout_has_the_panels_that_it_promises_side_by_side_without_overlap(layout, count, width, clip):
    figure = draw(layout, clip, width)
    FigureCanvasAgg(figure).draw()
    boxes = [a.get_window_extent().padded(-0.5) for a in panels(figure)]
    assert len(boxes) == count
    assert not [1 for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)]
    assert all(abs(b.height / b.width - HEIGHT / WIDTH) < 0.05 for b in boxes)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_sheet_has_a_row_for_each_object_with_every_cue_named(width, clip):
    figure = draw("sheet", clip, width)
    words = texts(figure)
    for name in ("Frame 3", "Given mask", "Global map", "Local map", "Previous mask", "Result"):
        assert words.count(name) == (1 if width == style.PAGE else len(IDS)), name
    assert {"object 1", "object 3", "to frame 0", "to frame 2", "0 near", "far 1", "distance", "probability"} <= set(
        words
    )
    notes = " ".join(words)
    assert "at most 2 cells away" in notes and "White line: the truth" in notes and "“pair”, frame 3" in notes


@pytest.mark.parametrize("width", WIDTHS)
def test_a_row_shows_the_channel_of_its_object_on_the_scale_from_0_to_1(width, clip):
    figure, cues = draw("sheet", clip, width), predictions(clip)[3].cues
    wanted = [m[k].numpy() for k in (1, 2) for m in (cues.global_map, cues.local_map)]
    assert all(np.array_equal(a, b) for a, b in zip(images(figure, style.DISTANCE_MAP), wanted, strict=True))
    believed = [cues.previous_mask[k].numpy() for k in (1, 2)]
    assert all(np.array_equal(a, b) for a, b in zip(images(figure, style.PROBABILITY_MAP), believed, strict=True))
    for axes in panels(figure):
        assert all(i.get_clim() == (0.0, 1.0) for i in axes.images if i.get_array().ndim == 2)


def test_a_strip_has_a_column_for_each_frame_and_two_rows_of_maps_for_each_object(clip):
    figure, seen = draw("strip", clip), predictions(clip)
    rows = [(k, name) for k in (1, 2) for name in ("global_map", "local_map")]
    wanted = [getattr(seen[t].cues, name)[k].numpy() for k, name in rows for t in (1, 3, 5)]
    assert all(np.array_equal(a, b) for a, b in zip(images(figure, style.DISTANCE_MAP), wanted, strict=True))
    words = texts(figure)
    assert {"Frame 1", "Frame 3", "Frame 5"} <= set(words)
    assert {f"object {o} · {name} map" for o in IDS for name in ("Global", "Local")} <= set(words)


@pytest.mark.parametrize("layout", ["sheet", "strip", "arrows"])
def test_an_object_has_the_colour_that_its_mask_has_in_davis(layout, clip):
    squares = [t for t in draw(layout, clip).findobj(Text) if t.get_text() == "■"]
    expected = {"sheet": [1, 3], "strip": [1, 1, 3, 3], "arrows": [3]}[layout]
    assert [to_rgb(t.get_color()) for t in squares] == [tuple(PALETTE[o] / 255) for o in expected]


def test_a_row_tints_its_own_object_alone_and_that_of_the_background_all(clip):
    def tinted(figure: Figure, panel: int) -> set[int]:
        picture = np.asarray(panels(figure)[panel].images[0].get_array())
        changed = (picture != clip.frames[0].permute(1, 2, 0).numpy()).any(2)
        return {int(o) for o in np.unique(clip.masks[0].numpy()[changed])}

    figure = distance_maps.sheet(clip, predictions(clip)[3], objects=[0, 1, 3], radius=2)
    assert [tinted(figure, 6 * row + 1) for row in range(3)] == [{1, 3}, {1}, {3}]


def test_an_arrow_joins_the_pixels_of_its_two_cells_in_the_colour_of_its_distance(clip):
    figure = draw("arrows", clip)
    first, current, previous = panels(figure)
    down, across = (HEIGHT - 1) / (ROWS - 1), (WIDTH - 1) / (COLUMNS - 1)
    wanted = []
    for link in LINKS:
        for axes, to, distance in (
            (first, link.first, link.first_distance),
            (previous, link.previous, link.previous_distance),
        ):
            if to is not None:
                wanted.append((link.query, axes, to, style.colour_scale("distance").to_rgba(distance)))
    found = figure.findobj(ConnectionPatch)
    assert len(found) == len(wanted) == 3
    for arrow, (query, axes, to, colour) in zip(found, wanted, strict=True):
        assert arrow.axesA is current and arrow.axesB is axes
        assert np.allclose(arrow.xy1, (query[1] * across, query[0] * down))
        assert np.allclose(arrow.xy2, (to[1] * across, to[0] * down))
        assert np.allclose(arrow.get_edgecolor(), colour)
    assert [t.get_text() for t in figure.findobj(Annotation) if t.get_text()] == ["1", "2"]


def test_a_window_stands_round_its_cell_and_is_dashed_where_nothing_was_found(clip):
    previous = panels(draw("arrows", clip))[2]
    windows = [p for p in previous.patches if isinstance(p, Rectangle)][1::2]  # each is drawn dark, then bright
    down, across = (HEIGHT - 1) / (ROWS - 1), (WIDTH - 1) / (COLUMNS - 1)
    for window, link in zip(windows, LINKS, strict=True):
        centre = window.get_x() + window.get_width() / 2, window.get_y() + window.get_height() / 2
        assert np.allclose(centre, (link.query[1] * across, link.query[0] * down))
        assert np.allclose((window.get_width(), window.get_height()), (5 * across, 5 * down))
    assert [w.get_linestyle() in ("-", "solid") for w in windows] == [True, False]


def test_without_a_window_none_is_drawn_and_the_words_say_so(clip):
    for layout in ("sheet", "strip", "arrows"):
        figure = draw(layout, clip, radius=None)
        words = " ".join(texts(figure))
        assert "Local map" not in words and "window," not in words
        assert ("nearest, anywhere" in words) == (layout == "arrows") and ("Global map 2" in words) != (
            layout == "arrows"
        )
    assert not [p for a in panels(figure) for p in a.patches if isinstance(p, Rectangle)]


@pytest.mark.parametrize(("layout", "times"), [("sheet", 2), ("strip", 6), ("arrows", 1)])
@pytest.mark.parametrize("cue", ["global_map", "local_map"])
def test_a_cue_that_is_off_is_shown_as_not_used(layout, times, cue, clip):
    assert texts(draw(layout, clip, without=cue)).count("not used") == times


@pytest.mark.parametrize(("layout", "lines"), [("sheet", 6), ("strip", 18), ("arrows", 0)])
def test_the_truth_is_drawn_only_where_there_is_one(layout, lines, clip):
    assert len(draw(layout, clip).findobj(ContourSet)) == lines
    bare = Clip("bare", clip.frames, clip.masks[:1], IDS)
    assert not draw(layout, bare).findobj(ContourSet) and "truth" not in " ".join(texts(draw(layout, bare)))


def test_an_object_that_enters_later_says_when(clip):
    late = Clip("late", clip.frames, clip.masks, IDS, starts=(0, 2))
    words = texts(draw("sheet", late))
    assert {"given in frame 0", "given in frame 2", "to given frame"} <= set(words)
    assert "to frame 2" in texts(draw("strip", late))


def test_drawing_changes_no_input_and_no_setting_of_matplotlib(clip):
    seen = predictions(clip)
    tensors = [clip.frames, clip.masks, *seen[3].cues[:3]]
    before, settings = [t.clone() for t in tensors], dict(matplotlib.rcParams)
    for layout in ("sheet", "strip", "arrows"):
        FigureCanvasAgg(draw(layout, clip)).draw()
    assert all(torch.equal(a, b) for a, b in zip(before, tensors, strict=True))
    assert dict(matplotlib.rcParams) == settings


def test_what_cannot_be_drawn_is_refused_in_a_sentence(clip):
    seen = predictions(clip)
    given = Prediction(0, clip.masks[0], torch.zeros(3, HEIGHT, WIDTH), None)
    one = {"objects": [1]}
    for draw_it, words in (
        (
            lambda: distance_maps.sheet(clip, seen[1], objects=[2]),
            "object_id must be one of 0, 1, 3 in clip 'pair', got 2",
        ),
        (lambda: distance_maps.sheet(clip, seen[1], objects=[]), "needs an object, got none"),
        (lambda: distance_maps.sheet(clip, given, **one), "needs a predicted frame, and frame 0 is given"),
        (lambda: distance_maps.sheet(clip, seen[1], width=5.0, **one), "3.35 or 6.9 inches wide, got 5.0"),
        (lambda: distance_maps.strip(clip, seen, frames=[], **one), "shows 1 to 8 frames, got 0"),
        (
            lambda: distance_maps.strip(clip, seen, frames=[1, 2, 3, 4, 5], width=style.COLUMN, **one),
            "1 to 4 frames, got 5",
        ),
        (lambda: distance_maps.strip(clip, seen, frames=[1, 9], **one), "got none for frame 9"),
        (lambda: distance_maps.arrows(clip, seen[1], [], object_id=1, before=clip.masks[0]), "object 1 has no cell"),
        (
            lambda: distance_maps.sheet(clip, seen[1], objects=[1, 3] * 3, width=style.COLUMN),
            "a page has 9.2: choose fewer",
        ),
    ):
        with pytest.raises(LabError, match=words):
            draw_it()


def test_a_line_is_at_least_as_wide_as_it_is_drawn(clip):
    figure = style.new_figure(width=6.9, height=1)
    for words, bold in (
        ("Prediction, one colour an object", False),
        ("object 1 · Global map", True),
        ("“ünïcode”…", False),
    ):
        drawn = figure.text(0, 0, words, size=8, family="DejaVu Sans", weight="bold" if bold else "normal")
        FigureCanvasAgg(figure).draw()
        assert 0 <= page.inches(words, bold=bold) - drawn.get_window_extent().width / style.DPI < 0.12
