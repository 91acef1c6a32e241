"""What the inputs are: pictures, table rows, text, series, or plain tensors."""

from pellucid.core.modality.images import Images as Images
from pellucid.core.modality.plain import Modality as Modality
from pellucid.core.modality.series import Series as Series
from pellucid.core.modality.table import Table as Table
from pellucid.core.modality.text import Text as Text
