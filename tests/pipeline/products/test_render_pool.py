"""Images are rendered in the order of their tasks, by early and by later processes."""

import os
from functools import partial

import pytest

from xcor_daemon.errors import XcorError
from xcor_daemon.pipeline.products.render_pool import RenderPool


def render(path):
    path.write_text(str(os.getpid()))
    return [path]


def fail():
    raise ValueError("no ink")


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("processes", [1, 3])
def test_all_images_are_rendered_in_order(tmp_path, early, processes):
    paths = [tmp_path / str(k) for k in range(5)]

    with RenderPool(processes, early) as renderer:
        rendered = renderer.render([partial(render, path) for path in paths])

    assert rendered == paths
    assert all(path.exists() for path in paths)


def test_an_early_pool_renders_in_a_child_process(tmp_path):
    with RenderPool(1, early=True) as renderer:
        [path] = renderer.render([partial(render, tmp_path / "image")])

    assert path.read_text() != str(os.getpid())


@pytest.mark.parametrize("early", [True, False])
def test_an_image_that_cannot_be_rendered_ends_the_job_with_its_reason(early):
    with RenderPool(2, early) as renderer, pytest.raises(XcorError, match="no ink"):
        renderer.render([fail, fail])
