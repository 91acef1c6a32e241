"""Formulas as MathML: no script, no network, and a formula that cannot be read stops the build."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging

logger = logging.getLogger(__name__)


def write(page: Any, node: nodes.Element, *, block: bool) -> None:
    """Put the formula of ``node`` on the page."""
    source = node.astext()
    try:
        page.body.append(tex2mathml(source, as_block=block))
    except MathError as error:
        logger.warning("this formula cannot be shown: %s (%s)", source, error, location=node)
        page.body.append(f"<code>{page.encode(source)}</code>")
    raise nodes.SkipNode


def setup(app: Any) -> dict[str, bool]:
    app.add_html_math_renderer(
        "mathml",
        (lambda page, node: write(page, node, block=False), None),
        (lambda page, node: write(page, node, block=True), None),
    )
    return {"parallel_read_safe": True, "parallel_write_safe": True}
