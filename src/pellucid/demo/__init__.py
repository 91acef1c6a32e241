"""Four small trained networks with their data: digits, breast-cancer, diabetes, sentences."""

from pellucid.demo.data import NAMES as NAMES
from pellucid.demo.data import DemoParts as DemoParts
from pellucid.demo.data import parts as parts
