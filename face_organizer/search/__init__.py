"""Find persons in a face table: a profile from a few references, every match, thresholds from the table.

`profiles` makes and keeps profiles, `crowd` learns how near other people come, `finding` scans and decides,
`references` embeds reference photos, `report` and `workbook` write down what was found.
"""

__all__ = ["appearances", "match", "profiles", "references", "report", "threshold", "workbook"]
