"""Images come in the order in which they were asked for, whoever draws them and since when."""

import os
from functools import partial

import pytest

from xcor_daemon.errors import XcorError
from xcor_daemon.pipeline.products.render_pool import Painters


def draw(path):
    path.write_text(str(os.getpid()))
    return [path]


def fail():
    raise ValueError("no ink")


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("processes", [1, 3])
def test_all_images_are_drawn_in_order(tmp_path, early, processes):
    paths = [tmp_path / str(k) for k in range(5)]

    with Painters(processes, early) as painters:
        drawn = painters.draw([partial(draw, path) for path in paths])

    assert drawn == paths
    assert all(path.exists() for path in paths)


def test_early_painters_draw_beside_the_process_that_asks(tmp_path):
    with Painters(1, early=True) as painters:
        [path] = painters.draw([partial(draw, tmp_path / "image")])

    assert path.read_text() != str(os.getpid())


@pytest.mark.parametrize("early", [True, False])
def test_an_image_that_cannot_be_drawn_ends_the_job_with_its_reason(early):
    with Painters(2, early) as painters, pytest.raises(XcorError, match="no ink"):
        painters.draw([fail, fail])
