"""The report: figures and evidence as one page that needs nothing else."""

from pellucid.report.content import Content as Content
from pellucid.report.content import MethodView as MethodView
from pellucid.report.content import Section as Section
