"""Find persons in a face table: a profile from a few references, every match, thresholds from the table itself.

`profiles` makes and keeps profiles, `crowd` learns what other people's similarities look like, `finding` scans
and decides, `references` embeds reference photos, `report` and `workbook` write down what was found.
"""
