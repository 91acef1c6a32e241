"""Class activation maps, and their seam."""

from __future__ import annotations

from pellucid.attribution.cam.seam import MOST_TRIED, LayerMap, Maps, map_layers

__all__ = ["MOST_TRIED", "LayerMap", "Maps", "map_layers"]
